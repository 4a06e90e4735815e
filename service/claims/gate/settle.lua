-- Copies newer rows of pools from the ledger to the gate, and ends admissions. Idempotent.
--
-- KEYS[1]       admissions in flight; KEYS[2] memory (see admit.lua)
-- KEYS[3..P+2]  pools
-- KEYS[P+3..]   idempotency keys, serials and quotas, which `undo` names by index
-- ARGV[1]       JSON {"pools": [name, ...],
--                     "rows": [[pool, slice, allocated, spent, version, bypasses, replaces], ...],
--                     "done": [claim id, ...],   admissions to end: committed, or given up
--                     "undo": [[claim id, [index of key or serial, ...],
--                               [[index of quota, field], ...]], ...]}
-- Returns how many admissions were ended.
--
-- Rows. Slice 0 is the pool's own row. Of slice N the pool's hash has `version:N`, `bypasses:N` and
-- `spent:N`. Its field `parts` (fen) is the sum of `spent:N`, and `spent` the sum over all rows, so
-- admit.lua reads one field. A row is stored if its version is newer than the gate's. It is also
-- stored if the gate's version is exactly `replaces`: the ledger was restored to an older state.
--
-- The gate tracks a version per row and sums them, so the sum may lag behind the ledger. It can
-- overstate spending only by refunds and ended holds that it has not heard of yet: claims are spent
-- from slices and from the pool's own row, but those are booked on the pool's own row only.
--
-- A changed number of `bypasses` means that claims were committed without the gate. Then, and when
-- a pool is new, `since` is set to now: the gate remembers every claim only from there on.
--
-- Admissions. Each is ended once, and its fen are subtracted from `flying` then. `undo` forgets
-- a claim's key, serials and quotas, unless another claim has taken them since.
local order = cjson.decode(ARGV[1])
local pool_key = {}
for i, name in ipairs(order.pools) do pool_key[name] = KEYS[2 + i] end

local function whole(number) return string.format('%.0f', number) end

local function remember_from_now()
    local clock = redis.call('TIME')
    redis.call('HSET', KEYS[2], 'since', whole(clock[1] * 1000 + math.ceil(clock[2] / 1000)))
end

local function follow_pool(key, allocated, spent, version, bypasses, replaces)
    local known = redis.call('HMGET', key, 'version', 'bypasses', 'parts')
    local known_version = tonumber(known[1] or '-1')
    if known_version < version or known_version == replaces then
        if tonumber(known[2] or '-1') ~= bypasses then remember_from_now() end
        redis.call('HSET', key, 'allocated', whole(allocated),
            'spent', whole(spent + tonumber(known[3] or '0')),
            'version', whole(version), 'bypasses', whole(bypasses))
    end
end

local function follow_slice(key, slice_no, spent, version, bypasses, replaces)
    local field = function(name) return name .. ':' .. slice_no end
    local known = redis.call('HMGET', key, field('version'), field('bypasses'), field('spent'))
    local known_version = tonumber(known[1] or '-1')
    if known_version < version or known_version == replaces then
        if tonumber(known[2] or '0') ~= bypasses then remember_from_now() end
        local more = whole(spent - tonumber(known[3] or '0'))
        redis.call('HINCRBY', key, 'parts', more)
        redis.call('HINCRBY', key, 'spent', more)
        redis.call('HSET', key, field('version'), whole(version),
            field('bypasses'), whole(bypasses), field('spent'), whole(spent))
    end
end

for _, row in ipairs(order.rows) do
    local name, slice_no, allocated, spent, version, bypasses, replaces = unpack(row)
    local key = pool_key[name]  -- none: a pool that no policy of this release knows
    if key and slice_no == 0 then
        follow_pool(key, allocated, spent, version, bypasses, replaces)
    elseif key then
        follow_slice(key, slice_no, spent, version, bypasses, replaces)
    end
end

local dropped, landed = 0, {}
for first = 1, #order.done, 1000 do  -- Lua's stack holds some thousand values
    local ids = {}
    for i = first, math.min(first + 999, #order.done) do ids[#ids + 1] = order.done[i] end
    local ended = {}
    for i, admission in ipairs(redis.call('HMGET', KEYS[1], unpack(ids))) do
        if admission and not ended[ids[i]] then  -- an id may be there twice
            ended[ids[i]] = true
            for name, fen in pairs(cjson.decode(admission).fen) do
                landed[name] = (landed[name] or 0) + fen
            end
            dropped = dropped + 1
        end
    end
    redis.call('HDEL', KEYS[1], unpack(ids))
end
for name, fen in pairs(landed) do
    if pool_key[name] then redis.call('HINCRBY', pool_key[name], 'flying', whole(-fen)) end
end

for _, undo in ipairs(order.undo) do
    for _, at in ipairs(undo[2]) do
        if redis.call('GET', KEYS[at]) == undo[1] then redis.call('DEL', KEYS[at]) end
    end
    for _, quota in ipairs(undo[3]) do
        redis.call('HDEL', KEYS[quota[1]], quota[2])
    end
end
return dropped
