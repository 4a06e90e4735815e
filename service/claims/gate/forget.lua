-- Forgets a claim's idempotency key, serials and quotas, except those of claims in flight.
--
-- It is called when the gate remembers what the ledger does not have, so the memory is stale. But
-- another claim may have used the key since the ledger was read. The key is therefore forgotten
-- only if it still belongs to the claim in the gate's answer. Otherwise the gate would lose a newer
-- claim and could refuse its retry. Serials and quotas need no such check: the ledger has them.
--
-- KEYS[1]    admissions in flight (see admit.lua)
-- KEYS[2]    the idempotency key: a string, the id of the claim that used it
-- KEYS[3..]  serials (strings, likewise) and quotas (hashes whose fields begin with a claim id)
-- ARGV[1]    JSON {"holder": id of the claim that the gate named; empty if it named none}
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
