-- Runs first on every new connection. A new run id means that the server was restarted or replaced
-- and may have lost data, so `since` is set to now.
--
-- KEYS[1]  memory (see admit.lua)
-- ARGV[1]  the server's run id
if redis.call('HGET', KEYS[1], 'run') ~= ARGV[1] then
    local clock = redis.call('TIME')
    local now_ms = clock[1] * 1000 + math.ceil(clock[2] / 1000)
    redis.call('HSET', KEYS[1], 'run', ARGV[1], 'since', string.format('%.0f', now_ms))
end
return 1
