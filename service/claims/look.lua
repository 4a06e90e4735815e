-- What the gate has: for the sweeper. Counts `flying` anew from the admissions themselves.
--
-- KEYS[1]       admissions, KEYS[2] memory (see admit.lua)
-- KEYS[3..P+2]  pools
-- ARGV[1]       JSON {"pools": [name, ...], "now_ms": Unix ms, "overdue_max": how many to return}
--
-- Returns [version a pool ... (-1: not known), fen left a pool ..., admissions in flight, how many are overdue,
--          then of the overdue, at most overdue_max: claim id, record, ...]
local order = cjson.decode(ARGV[1])
local all = redis.call('HGETALL', KEYS[1])
local flying, overdue, overdue_count = {}, {}, 0
for n = 1, #all, 2 do
    local admission = cjson.decode(all[n + 1])
    for name, fen in pairs(admission.fen) do flying[name] = (flying[name] or 0) + fen end
    if admission['until'] < order.now_ms then
        overdue_count = overdue_count + 1
        if overdue_count <= order.overdue_max then
            overdue[#overdue + 1] = all[n]
            overdue[#overdue + 1] = all[n + 1]
        end
    end
end
local answer, left = {}, {}
for i, name in ipairs(order.pools) do
    local pool = redis.call('HMGET', KEYS[2 + i], 'version', 'allocated', 'spent')
    if pool[1] then
        redis.call('HSET', KEYS[2 + i], 'flying', string.format('%.0f', flying[name] or 0))
        left[i] = tonumber(pool[2]) - tonumber(pool[3]) - (flying[name] or 0)
    end
    answer[i] = pool[1] or '-1'
end
for i = 1, #order.pools do answer[#answer + 1] = string.format('%.0f', left[i] or 0) end
answer[#answer + 1] = tostring(#all / 2)
answer[#answer + 1] = tostring(overdue_count)
for _, part in ipairs(overdue) do answer[#answer + 1] = part end
return answer
