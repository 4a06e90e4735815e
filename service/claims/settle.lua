-- Brings the gate up to the ledger's view and ends admissions. Harmless to repeat.
--
-- KEYS[1]       admissions, KEYS[2] memory (see admit.lua)
-- KEYS[3..P+2]  pools
-- KEYS[P+3..]   what `undo` names below, by index
-- ARGV[1]       JSON {"pools": [name, ...],
--                     "views": [[name, allocated, spent, version, bypasses, instead_of], ...],
--                     "done": [claim id, ...],   ended: committed, or given up
--                     "undo": [[claim id, [index of key or serial, ...],
--                               [[index of right, field], ...]], ...]}
--
-- A view is stored if its version is newer than the gate's, or if the gate's is the very version
-- `instead_of`: the ledger was since seen to be older, so it was restored. A view that tells of
-- claims that bypassed the gate, or the first one, ends what the gate may say of keys alone.
-- An admission is dropped exactly once, and its fen leave `flying` with it. `undo` forgets what a
-- claim had put down, unless another claim has put its own there since.
-- Returns how many admissions were dropped.
local order = cjson.decode(ARGV[1])
local pool_key = {}
for i, name in ipairs(order.pools) do pool_key[name] = KEYS[2 + i] end

local function whole(number) return string.format('%.0f', number) end

local function remember_from_now()
    local clock = redis.call('TIME')
    redis.call('HSET', KEYS[2], 'since', whole(clock[1] * 1000 + math.ceil(clock[2] / 1000)))
end

for _, view in ipairs(order.views) do
    local key = pool_key[view[1]]  -- none: a pool that no policy of this release knows
    if key then
        local known = redis.call('HMGET', key, 'version', 'bypasses')
        local version = tonumber(known[1] or '-1')
        if version < view[4] or version == view[6] then
            if tonumber(known[2] or '-1') ~= view[5] then remember_from_now() end
            redis.call('HSET', key, 'allocated', whole(view[2]), 'spent', whole(view[3]),
                'version', whole(view[4]), 'bypasses', whole(view[5]))
        end
    end
end

local dropped = 0
for _, id in ipairs(order.done) do
    local admission = redis.call('HGET', KEYS[1], id)
    if admission then
        redis.call('HDEL', KEYS[1], id)
        for name, fen in pairs(cjson.decode(admission).fen) do
            if pool_key[name] then
                redis.call('HINCRBY', pool_key[name], 'flying', whole(-fen))
            end
        end
        dropped = dropped + 1
    end
end

for _, undo in ipairs(order.undo) do
    for _, at in ipairs(undo[2]) do
        if redis.call('GET', KEYS[at]) == undo[1] then redis.call('DEL', KEYS[at]) end
    end
    for _, right in ipairs(undo[3]) do
        redis.call('HDEL', KEYS[right[1]], right[2])
    end
end
return dropped
