-- Takes tokens from buckets, one key each, for a batch of requests.
--
-- KEYS[n]   a bucket: hash of tokens (thousandths) and at_ms (when they were counted)
-- ARGV[1]   tokens a second, ARGV[2] tokens that a full bucket holds
-- ARGV[3..] how many requests wait for KEYS[n-2]
--
-- Returns for each bucket: how many of them may go, then the thousandths left.
local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local per_s, full = tonumber(ARGV[1]), tonumber(ARGV[2]) * 1000
local answer = {}
for n = 1, #KEYS do
    local bucket = redis.call('HMGET', KEYS[n], 'tokens', 'at_ms')
    local passed_ms = math.max(0, now_ms - tonumber(bucket[2] or now_ms))
    local tokens = math.min(full, tonumber(bucket[1] or full) + passed_ms * per_s)
    local go = math.min(tonumber(ARGV[n + 2]), math.floor(tokens / 1000))
    tokens = tokens - go * 1000
    redis.call('HSET', KEYS[n], 'tokens', string.format('%.0f', tokens), 'at_ms', now_ms)
    redis.call('PEXPIRE', KEYS[n], math.ceil(full / per_s) + 1000)
    answer[#answer + 1] = go
    answer[#answer + 1] = string.format('%.0f', tokens)
end
return answer
