-- A whole request's reservation. Budgets are read and compared first, so that a refusal there leaves no trace; then the
-- estimate is charged to them, then the windows count the request, then a slot is taken, then tokens are reserved.
-- KEYS  counters, then (window, requests) pairs, then slot sets, then (window, tokens) pairs
-- ARGV  the head below; per counter: known spend, below 0 where no row has it; per check: counter, a second one or -1,
--       '>=' or '>', maximum;
--       per reservation: counter, maximum, '1' if the key may be throttled; per limit: the limit
-- Reply kind, index, text, text, integers x4; see limits/wire.rs
local next_arg, next_key = 0, 0
local function word()
  next_arg = next_arg + 1
  return ARGV[next_arg]
end
local function number() return tonumber(word()) end
local function key()
  next_key = next_key + 1
  return KEYS[next_key]
end
local function digits(value) return string.format('%.17g', value) end

local now, window, ttl = number(), number(), number()
local cost_text, strict, slot, estimate = word(), word() == '1', word(), number()
local n_counters, n_checks, n_reservations, n_requests, n_slots, n_tokens =
  number(), number(), number(), number(), number(), number()

local function reply(kind, index, a, b, one, two, three, four)
  return { kind, index or 0, a or '', b or '', one or {}, two or {}, three or {}, four or {} }
end

-- budgets: compare
local counters, known, spend = {}, {}, {}
for i = 1, n_counters do
  counters[i], known[i] = key(), number()
end
if n_counters > 0 then
  for i, value in ipairs(redis.call('MGET', unpack(counters))) do
    spend[i] = value and tonumber(value) or (known[i] < 0 and 0)
  end
end
local checks, cold, stale, marked = {}, {}, {}, {}
for i = 1, n_counters do
  if not spend[i] then
    cold[#cold + 1], marked[i] = i - 1, true
  end
end
for i = 1, n_checks do
  local c = { counter = number() + 1, plus = number() + 1, over = word(), max = number() }
  checks[i] = c
  local value = spend[c.counter]
  if value and not marked[c.counter] and value < c.max and known[c.counter] > value then
    stale[#stale + 1], marked[c.counter] = c.counter - 1, true
  end
end
if #cold + #stale > 0 then return reply('load', 0, nil, nil, cold, stale) end
for i, c in ipairs(checks) do
  local value = spend[c.counter] + (spend[c.plus] or 0)
  if (c.over == '>=' and value >= c.max) or (c.over == '>' and value > c.max) then
    return reply('budget', i - 1, digits(value))
  end
end

-- budgets: charge
local function add(counter, amount)
  local value = redis.call('INCRBYFLOAT', counter, amount)
  redis.call('EXPIRE', counter, ttl)
  return tonumber(value)
end
local charged, cost = {}, tonumber(cost_text)
local function negative(amount)
  return string.sub(amount, 1, 1) == '-' and string.sub(amount, 2) or '-' .. amount
end
local function give_back()
  for _, c in ipairs(charged) do add(c.counter, negative(cost_text)) end
end
for i = 1, n_reservations do
  local counter, max, throttle = counters[number() + 1], number(), word() == '1'
  if cost > 0 then
    local value = add(counter, cost_text)
    if value > max and throttle then
      add(counter, negative(cost_text))
    else
      charged[#charged + 1] = { counter = counter, index = i - 1 }
      if value > max then
        local room = max - (value - cost)
        if room <= 1e-12 or (strict and value - max > 1e-12) then
          give_back()
          if room <= 1e-12 then return reply('room', i - 1, digits(value)) end
          return reply('room', i - 1, digits(value - cost), digits(cost))
        end
        for _, c in ipairs(charged) do add(c.counter, digits(room - cost)) end
        cost, cost_text = room, digits(room)
      end
    end
  end
end

-- requests: counted even when they are over the limit
local function open(window_key, start)
  local prefix = string.sub(window_key, 1, -(#':window') - 1)
  redis.call('DEL', prefix .. ':requests', prefix .. ':tokens')
  redis.call('SET', window_key, tostring(start), 'EX', window)
end
local function ended(window_key, at)
  local start = redis.call('GET', window_key)
  return not start or at - tonumber(start) >= window, start
end
local counts, over = {}, false
for i = 1, n_requests do
  local window_key, counter, limit = key(), key(), number()
  if ended(window_key, now) then
    open(window_key, now)
    redis.call('SET', counter, 1, 'EX', window)
    counts[i] = 1
  else
    counts[i] = redis.call('INCR', counter)
    if redis.call('TTL', counter) == -1 then redis.call('EXPIRE', counter, window) end
  end
  over = over or counts[i] > limit
end
if over then
  give_back()
  return reply('requests', 0, nil, nil, counts)
end

-- slots: by Redis' own clock from here on
local time = tonumber(redis.call('TIME')[1])
local lease, sets, in_flight = 3600, {}, {}
for i = 1, n_slots do
  local set, limit = key(), number()
  sets[i] = set
  redis.call('ZREMRANGEBYSCORE', set, '-inf', time - lease)
  local taken = redis.call('ZCARD', set)
  if taken + 1 > limit then
    give_back()
    return reply('slots', i - 1, nil, nil, counts, { taken })
  end
end
for i, set in ipairs(sets) do
  redis.call('ZADD', set, time, slot)
  redis.call('EXPIRE', set, lease)
  in_flight[i] = redis.call('ZCARD', set)
end

-- tokens: every scope by itself; when one refuses, those that were charged get it back
local tokens, charged_tokens, refused = {}, {}, nil
for i = 1, n_tokens do
  local window_key, counter, limit = key(), key(), number()
  local fresh, start = ended(window_key, time)
  local current = fresh and 0 or tonumber(redis.call('GET', counter) or 0)
  if current + estimate > limit then
    refused = refused or { index = i - 1, current = current }
  else
    if fresh then
      start = tostring(time)
      open(window_key, time)
      redis.call('SET', counter, estimate, 'EX', window)
      tokens[i] = estimate
    else
      tokens[i] = redis.call('INCRBY', counter, estimate)
      if redis.call('TTL', counter) == -1 then redis.call('EXPIRE', counter, window) end
    end
    charged_tokens[#charged_tokens + 1] = counter
  end
end
if refused then
  for _, counter in ipairs(charged_tokens) do redis.call('INCRBY', counter, -estimate) end
  for _, set in ipairs(sets) do redis.call('ZREM', set, slot) end
  give_back()
  return reply('tokens', refused.index, nil, nil, counts, in_flight, { refused.current })
end

local reserved = {}
for i, c in ipairs(charged) do reserved[i] = c.index end
return reply('ok', 0, cost_text, nil, counts, in_flight, tokens, reserved)
