-- Forgets what the gate remembers of a key, serial or right, unless it is in flight.
-- Called when the ledger knows of none of it: the gate's memory is then out of date. But it may
-- have been renewed since the ledger was asked: of the key only what was seen then is forgotten,
-- or a claim that has just been made under it would look as if there were none.
--
-- KEYS[1]  admissions (see admit.lua)
-- KEYS[2]  the idempotency key (a string that holds a claim id)
-- KEYS[3..] serials (such strings too) and rights (hashes whose fields begin with a claim id)
-- ARGV[1]  JSON {"holder": the claim that was seen to have used the key; empty: none was}
local holder = cjson.decode(ARGV[1]).holder
if redis.call('GET', KEYS[2]) == holder and redis.call('HEXISTS', KEYS[1], holder) == 0 then
    redis.call('DEL', KEYS[2])
end
for n = 3, #KEYS do
    local kind = redis.call('TYPE', KEYS[n]).ok
    if kind == 'string' then
        local id = redis.call('GET', KEYS[n])
        if redis.call('HEXISTS', KEYS[1], id) == 0 then redis.call('DEL', KEYS[n]) end
    elseif kind == 'hash' then
        for _, field in ipairs(redis.call('HKEYS', KEYS[n])) do
            if redis.call('HEXISTS', KEYS[1], string.sub(field, 1, 36)) == 0 then
                redis.call('HDEL', KEYS[n], field)
            end
        end
    end
end
return 1
