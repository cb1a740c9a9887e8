-- A finished call's cost on counters of budgets of single models. Each has a window of its own: it begins with the first
-- call, or with the first after its end; the counter lives as long.
-- KEYS  per counter: itself, when its window began
-- ARGV  now; per counter: the cost, seconds of a window
local now = tonumber(ARGV[1])
for i = 1, #KEYS / 2 do
  local spend, start, cost, window = KEYS[2 * i - 1], KEYS[2 * i], ARGV[2 * i], tonumber(ARGV[2 * i + 1])
  local begun = tonumber(redis.call('GET', start) or '')
  if not begun or now - begun > window then
    redis.call('SET', start, ARGV[1], 'EX', window)
  end
  if begun and now - begun > window then
    redis.call('SET', spend, cost, 'EX', window)
  else
    redis.call('INCRBYFLOAT', spend, cost)
    redis.call('EXPIRE', spend, math.floor(window - (now - (begun or now))))
  end
end
