-- Admits a batch of claims, in the order given. A claim is admitted with all its lines, or not.
--
-- KEYS[1]       admissions in flight: hash, claim id -> JSON {"until": deadline in Unix ms,
--               "fen": {pool: fen}, "retailer": id, "key": idempotency key}
-- KEYS[2]       memory: hash of `run` (the server's run id) and `since` (Unix ms). Every claim
--               that was committed since then passed this gate, in this run of the server
-- KEYS[3..P+2]  pools: hash of `allocated` and `spent` (the ledger's figures), `flying` (fen of the
--               admissions in flight), and the fields that settle.lua describes
-- KEYS[P+3..]   idempotency keys, serials and quotas, which the claims below name by index
-- ARGV[1]       JSON {"pools": [name, ...], "ttl_s": how long to remember keys, serials and quotas,
--               "until_ms": deadline of these admissions in Unix ms, "claims": [claim, ...]}
--               A claim is {"id", "seen": index of its key, "serials": [index, ...],
--               "quotas": [[index, field, amount, limit], ...], "fen": {pool: fen}, "retailer",
--               "key", "age_ms": upper limit: no claim of this body is older}
-- P is the number of pools.
--
-- Returns [one answer a claim ..., "left", fen of each pool ...]. `left` is allocated - spent, or
-- -1 if the gate does not have the pool. The answers:
--   "admitted"
--   "seen <id>"  the claim <id> used this idempotency key, and is no longer in flight
--   "taken"      a serial or a quota seems to be taken; the ledger must confirm it
--   "short"      a pool's `left` is less than the claim takes, and the key has no claim of
--                this body: the gate would remember it
--   "doubtful"   like "short", but the gate may have forgotten a claim of this key
--   "contested"  the key is in flight, or `left` suffices but `left` - `flying` does not
--   "unknown"    the gate does not have the pool yet
--
-- `flying` can overstate: a commit may be in `spent` already while its admission is not ended yet.
-- So a claim that is short only because of `flying` is "contested" and retries, and is not refused.
local order = cjson.decode(ARGV[1])
local left, balance = {}, {}
for i, name in ipairs(order.pools) do
    local pool = redis.call('HMGET', KEYS[2 + i], 'allocated', 'spent', 'flying')
    if pool[1] then
        left[name] = tonumber(pool[1]) - tonumber(pool[2])
        balance[name] = left[name] - tonumber(pool[3] or '0')
    end
end

local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local since_ms = tonumber(redis.call('HGET', KEYS[2], 'since') or now_ms)
local remembered_ms = math.min(now_ms - since_ms, order.ttl_s * 1000)

-- The claim that holds each idempotency key and serial, by index. One call reads many; `record` adds
-- the claims of this batch.
local holders, held = {}, {}
for _, claim in ipairs(order.claims) do
    held[#held + 1] = claim.seen
    for _, at in ipairs(claim.serials) do held[#held + 1] = at end
end
for first = 1, #held, 1000 do  -- Lua's stack holds some thousand values
    local names = {}
    for i = first, math.min(first + 999, #held) do names[#names + 1] = KEYS[held[i]] end
    for i, holder in ipairs(redis.call('MGET', unpack(names))) do
        holders[held[first + i - 1]] = holder
    end
end

local function taken(claim)
    for _, at in ipairs(claim.serials) do
        if holders[at] then return true end
    end
    local used = {}
    for _, quota in ipairs(claim.quotas) do
        local at, amount, limit = quota[1], quota[3], quota[4]
        if not used[at] then
            used[at] = 0
            for _, line_amount in ipairs(redis.call('HVALS', KEYS[at])) do
                used[at] = used[at] + tonumber(line_amount)
            end
        end
        used[at] = used[at] + amount
        if used[at] > limit then return true end
    end
    return false
end

local admissions, admitted, fen_flying = {}, {}, {}

local function judge(claim)
    local holder = holders[claim.seen]
    if holder then
        local flies = admitted[holder] or redis.call('HEXISTS', KEYS[1], holder) == 1
        return flies and 'contested' or 'seen ' .. holder
    end
    if taken(claim) then return 'taken' end
    local answer = 'admitted'
    for name, fen in pairs(claim.fen) do
        if not left[name] then return 'unknown' end
        if fen > left[name] then
            return claim.age_ms < remembered_ms and 'short' or 'doubtful'
        end
        if fen > balance[name] then answer = 'contested' end
    end
    return answer
end

local function whole(number) return string.format('%.0f', number) end

local function record(claim)
    redis.call('SET', KEYS[claim.seen], claim.id, 'EX', order.ttl_s)
    holders[claim.seen] = claim.id
    for _, at in ipairs(claim.serials) do
        redis.call('SET', KEYS[at], claim.id, 'EX', order.ttl_s)
        holders[at] = claim.id
    end
    for _, quota in ipairs(claim.quotas) do
        redis.call('HSET', KEYS[quota[1]], quota[2], whole(quota[3]))
        redis.call('EXPIRE', KEYS[quota[1]], order.ttl_s)
    end
    for name, fen in pairs(claim.fen) do
        fen_flying[name] = (fen_flying[name] or 0) + fen
        balance[name] = balance[name] - fen
    end
    admitted[claim.id] = true
    admissions[#admissions + 1] = claim.id
    admissions[#admissions + 1] = cjson.encode({['until'] = order.until_ms, fen = claim.fen,
        retailer = claim.retailer, key = claim.key})
end

local answers = {}
for _, claim in ipairs(order.claims) do
    local answer = judge(claim)
    if answer == 'admitted' then record(claim) end
    answers[#answers + 1] = answer
end
for first = 1, #admissions, 1000 do  -- Lua's stack holds some thousand values
    local last = math.min(first + 999, #admissions)
    redis.call('HSET', KEYS[1], unpack(admissions, first, last))
end
for i, name in ipairs(order.pools) do
    if fen_flying[name] then
        redis.call('HINCRBY', KEYS[2 + i], 'flying', whole(fen_flying[name]))
    end
end
answers[#answers + 1] = 'left'
for _, name in ipairs(order.pools) do
    answers[#answers + 1] = whole(left[name] or -1)
end
return answers
