-- What the gate has, for the sweeper. It also recomputes each pool's `flying` from the admissions.
--
-- KEYS[1]       admissions in flight; KEYS[2] memory (see admit.lua)
-- KEYS[3..P+2]  pools
-- ARGV[1]       JSON {"pools": [name, ...], "now_ms": Unix ms, "overdue_max": how many to return}
--
-- Returns [JSON {pool: {"versions": {slice: version, ...}, "left": fen}}, admissions in flight,
--          overdue admissions, then at most overdue_max of these: claim id, record, ...]
-- The JSON has only the pools that the gate has. Its whole numbers are strings. `left` is
-- allocated - spent - flying. Slice 0 is the pool's own row.
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
local pools = {}
for i, name in ipairs(order.pools) do
    local pool, versions = {}, {}
    local fields = redis.call('HGETALL', KEYS[2 + i])
    for n = 1, #fields, 2 do
        pool[fields[n]] = fields[n + 1]
        local slice_no = string.match(fields[n], '^version:(%d+)$')
        if slice_no then versions[slice_no] = fields[n + 1] end
    end
    if pool.version then
        redis.call('HSET', KEYS[2 + i], 'flying', string.format('%.0f', flying[name] or 0))
        local left = tonumber(pool.allocated) - tonumber(pool.spent) - (flying[name] or 0)
        versions['0'] = pool.version
        pools[name] = {versions = versions, left = string.format('%.0f', left)}
    end
end
local answer = {next(pools) and cjson.encode(pools) or '{}', tostring(#all / 2),
    tostring(overdue_count)}
for _, field in ipairs(overdue) do answer[#answer + 1] = field end
return answer
