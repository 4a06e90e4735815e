-- Admits a batch of claims, each wholly or not at all, in the order given.
--
-- KEYS[1]            admissions: hash, claim id -> {"until": ms, "fen": {pool: fen},
--                    "retailer": id, "key": idempotency key}
-- KEYS[2]            memory: hash of run (the server's run id) and since (Unix ms): every claim
--                    committed from then on went through this gate, in this run of the server
-- KEYS[3..P+2]       pools: hash of allocated, spent (the ledger's view; settle.lua says what
--                    else is in it) and flying (fen of the admissions in flight)
-- KEYS[P+3..]        what the claims name below, by index: their idempotency key, serials, rights
-- ARGV[1]            JSON {"pools": [name, ...], "ttl_s": seconds that a key, serial or right is
--                    remembered, "until_ms": deadline of these admissions, Unix ms,
--                    "claims": [claim, ...]}, each {"id", "seen": index of its key,
--                    "serials": [index, ...], "rights": [[index, field, amount, limit], ...],
--                    "fen": {pool: fen}, "retailer", "key",
--                    "age_ms": how long ago its key may first have been used}
--
-- Returns [answer a claim ..., "left", fen a pool ...]; an answer is
--   "admitted"
--   "seen <id>"  the idempotency key was used before, by this claim, which is not in flight
--   "taken"      a serial or a right is known to be taken; the ledger knows for sure
--   "short"      the ledger itself has less left in a pool than this takes, and the key has no
--                claim: it would be remembered
--   "doubtful"   short, but a claim of this key might be forgotten by now
--   "contested"  the key, or what is left, is in flight: ask again in a moment
--   "unknown"    the gate does not know the pools yet
-- Left is allocated - spent; -1 for a pool that the gate does not know. The balance that a claim
-- must find is left - flying. An admission whose commit is in a newer view already may still
-- fly for a moment, so a claim that only the flying keep out is never refused for it.
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

local function taken(claim)
    for _, at in ipairs(claim.serials) do
        if redis.call('EXISTS', KEYS[at]) == 1 then return true end
    end
    local asked = {}
    for _, right in ipairs(claim.rights) do
        local at, amount, limit = right[1], right[3], right[4]
        if not asked[at] then
            asked[at] = 0
            for _, used in ipairs(redis.call('HVALS', KEYS[at])) do
                asked[at] = asked[at] + tonumber(used)
            end
        end
        asked[at] = asked[at] + amount
        if asked[at] > limit then return true end
    end
    return false
end

local function judge(claim)
    local holder = redis.call('GET', KEYS[claim.seen])
    if holder then
        return redis.call('HEXISTS', KEYS[1], holder) == 1 and 'contested' or 'seen ' .. holder
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
    for _, at in ipairs(claim.serials) do
        redis.call('SET', KEYS[at], claim.id, 'EX', order.ttl_s)
    end
    for _, right in ipairs(claim.rights) do
        redis.call('HSET', KEYS[right[1]], right[2], whole(right[3]))
        redis.call('EXPIRE', KEYS[right[1]], order.ttl_s)
    end
    for i, name in ipairs(order.pools) do
        local fen = claim.fen[name]
        if fen then
            redis.call('HINCRBY', KEYS[2 + i], 'flying', whole(fen))
            balance[name] = balance[name] - fen
        end
    end
    redis.call('HSET', KEYS[1], claim.id,
        cjson.encode({['until'] = order.until_ms, fen = claim.fen,
            retailer = claim.retailer, key = claim.key}))
end

local answers = {}
for _, claim in ipairs(order.claims) do
    local answer = judge(claim)
    if answer == 'admitted' then record(claim) end
    answers[#answers + 1] = answer
end
answers[#answers + 1] = 'left'
for _, name in ipairs(order.pools) do
    answers[#answers + 1] = whole(left[name] or -1)
end
return answers
