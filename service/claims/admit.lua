-- Admits a batch of claims, each wholly or not at all, in the order given.
--
-- KEYS[1]            admissions: hash, claim id -> {"until": ms, "fen": {pool: fen},
--                    "retailer": id, "key": idempotency key}
-- KEYS[2..P+1]       pools: hash of allocated, spent, version (the ledger's view) and flying
--                    (fen of the admissions in flight)
-- KEYS[P+2..]        what the claims name below, by index: their idempotency key, serials, rights
-- ARGV[1]            JSON {"pools": [name, ...], "ttl_s": seconds that a key, serial or right is
--                    remembered, "until_ms": deadline of these admissions, Unix ms}
-- ARGV[2..]          JSON a claim: {"id", "seen": index of its key, "serials": [index, ...],
--                    "rights": [[index, field, amount, limit], ...], "fen": {pool: fen},
--                    "retailer", "key"}
--
-- Returns [answer a claim ..., "left", fen a pool ...]; an answer is
--   "admitted"
--   "seen"       the idempotency key was seen before (in flight, or with a claim)
--   "taken"      a serial or a right is known to be taken; the ledger knows for sure
--   "short"      the ledger itself has less left in a pool than this takes
--   "contested"  what is left is wanted by admissions in flight: ask again in a moment
--   "unknown"    the gate does not know the pools yet
-- Left is allocated - spent; -1 for a pool that the gate does not know. The balance that a claim
-- must find is left - flying. An admission whose commit is in a newer view already may still
-- fly for a moment, so a claim that only the flying keep out is never refused for it.
local head = cjson.decode(ARGV[1])
local left, balance = {}, {}
for i, name in ipairs(head.pools) do
    local pool = redis.call('HMGET', KEYS[1 + i], 'allocated', 'spent', 'flying')
    if pool[1] then
        left[name] = tonumber(pool[1]) - tonumber(pool[2])
        balance[name] = left[name] - tonumber(pool[3] or '0')
    end
end

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
    if redis.call('EXISTS', KEYS[claim.seen]) == 1 then return 'seen' end
    if taken(claim) then return 'taken' end
    local answer = 'admitted'
    for name, fen in pairs(claim.fen) do
        if not left[name] then return 'unknown' end
        if fen > left[name] then return 'short' end
        if fen > balance[name] then answer = 'contested' end
    end
    return answer
end

local function whole(number) return string.format('%.0f', number) end

local function record(claim)
    redis.call('SET', KEYS[claim.seen], claim.id, 'EX', head.ttl_s)
    for _, at in ipairs(claim.serials) do
        redis.call('SET', KEYS[at], claim.id, 'EX', head.ttl_s)
    end
    for _, right in ipairs(claim.rights) do
        redis.call('HSET', KEYS[right[1]], right[2], whole(right[3]))
        redis.call('EXPIRE', KEYS[right[1]], head.ttl_s)
    end
    for i, name in ipairs(head.pools) do
        local fen = claim.fen[name]
        if fen then
            redis.call('HINCRBY', KEYS[1 + i], 'flying', whole(fen))
            balance[name] = balance[name] - fen
        end
    end
    redis.call('HSET', KEYS[1], claim.id,
        cjson.encode({['until'] = head.until_ms, fen = claim.fen,
            retailer = claim.retailer, key = claim.key}))
end

local answers = {}
for n = 2, #ARGV do
    local claim = cjson.decode(ARGV[n])
    local answer = judge(claim)
    if answer == 'admitted' then record(claim) end
    answers[#answers + 1] = answer
end
answers[#answers + 1] = 'left'
for _, name in ipairs(head.pools) do
    answers[#answers + 1] = whole(left[name] or -1)
end
return answers
