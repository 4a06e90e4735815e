-- Forgets what the gate remembers of a key, serial or right, unless it is in flight.
-- Called when the ledger knows of none of it: the gate's memory is then out of date.
--
-- KEYS[1]  admissions (see admit.lua)
-- KEYS[2..] keys and serials (strings that hold a claim id) and rights (hashes whose fields
--           begin with one)
for n = 2, #KEYS do
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
