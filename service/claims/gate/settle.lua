-- Brings the gate up to the ledger's view and ends admissions. Harmless to repeat.
--
-- KEYS[1]       admissions, KEYS[2] memory (see admit.lua)
-- KEYS[3..P+2]  pools
-- KEYS[P+3..]   what `undo` names below, by index
-- ARGV[1]       JSON {"pools": [name, ...],
--                     "views": [[name, part, allocated, spent, version, bypasses, instead_of],
--                               ...],
--                     "done": [claim id, ...],   ended: committed, or given up
--                     "undo": [[claim id, [index of key or serial, ...],
--                               [[index of right, field], ...]], ...]}
--
-- A view is of one row of a pool: its own (part 0) or a part's, of which the pool's hash keeps
-- version:N, bypasses:N and spent:N; its `spent` is the sum over all rows, and `parts` what of it
-- the parts have spent. Each row goes its own way: the sum may lag behind the ledger, as one row
-- may. It is above what is spent only by what has come back and is not told yet, as with one row: so
-- only grants are taken from parts, and what comes back comes to the pool's own row.
-- A view is stored if its version is newer than the gate's, or if the gate's is the very version
-- `instead_of`: the ledger was since seen to be older, so it was restored. A view that tells of
-- claims that bypassed the gate, or the pool's first one, ends what the gate may say of keys alone.
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

local function follow_pool(key, allocated, spent, version, bypasses, instead_of)
    local known = redis.call('HMGET', key, 'version', 'bypasses', 'parts')
    local known_version = tonumber(known[1] or '-1')
    if known_version < version or known_version == instead_of then
        if tonumber(known[2] or '-1') ~= bypasses then remember_from_now() end
        redis.call('HSET', key, 'allocated', whole(allocated),
            'spent', whole(spent + tonumber(known[3] or '0')),
            'version', whole(version), 'bypasses', whole(bypasses))
    end
end

local function follow_part(key, part, spent, version, bypasses, instead_of)
    local field = function(name) return name .. ':' .. part end
    local known = redis.call('HMGET', key, field('version'), field('bypasses'), field('spent'))
    local known_version = tonumber(known[1] or '-1')
    if known_version < version or known_version == instead_of then
        if tonumber(known[2] or '0') ~= bypasses then remember_from_now() end
        local more = whole(spent - tonumber(known[3] or '0'))
        redis.call('HINCRBY', key, 'parts', more)
        redis.call('HINCRBY', key, 'spent', more)
        redis.call('HSET', key, field('version'), whole(version),
            field('bypasses'), whole(bypasses), field('spent'), whole(spent))
    end
end

for _, view in ipairs(order.views) do
    local name, part, allocated, spent, version, bypasses, instead_of = unpack(view)
    local key = pool_key[name]  -- none: a pool that no policy of this release knows
    if key and part == 0 then
        follow_pool(key, allocated, spent, version, bypasses, instead_of)
    elseif key then
        follow_part(key, part, spent, version, bypasses, instead_of)
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
