-- The end of a call: slots are given back, token counters come from what was reserved to what was used, spend counters
-- from the reservation to the cost. A spend counter that is gone, or that cannot have the reservation in it any more, is
-- left alone and named in the reply: its caller reads the database and comes again.
-- KEYS  slot sets, token counters, spend counters
-- ARGV  the head below, then per token counter and per spend counter what to add; per spend counter also '1' if it may
--       not fall below zero
-- Reply positions of the spend counters left alone
local slot, window, ttl = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local n_slots, n_tokens, n_spend = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local arg = 6
for i = 1, n_slots do redis.call('ZREM', KEYS[i], slot) end
for i = 1, n_tokens do
  local counter = KEYS[n_slots + i]
  redis.call('INCRBYFLOAT', counter, ARGV[arg + i])
  if redis.call('TTL', counter) == -1 then redis.call('EXPIRE', counter, window) end
end
arg = arg + n_tokens
local left = {}
for i = 1, n_spend do
  local counter, amount, reserved = KEYS[n_slots + n_tokens + i], ARGV[arg + 2 * i - 1], ARGV[arg + 2 * i] == '1'
  local value = tonumber(redis.call('GET', counter) or '')
  local delta = tonumber(amount)
  if not value or (reserved and delta < 0 and value + delta < -1e-12) then
    left[#left + 1] = i - 1
  else
    redis.call('INCRBYFLOAT', counter, amount)
    redis.call('EXPIRE', counter, ttl)
  end
end
return left
