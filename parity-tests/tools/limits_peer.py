#!/usr/bin/env python3
"""LiteLLM's own limiter and budget reservation, driven over stdin: the other side of the differential test of `limits`.

    REDIS_PORT=6379 limits_peer.py DB

One JSON request a line, one JSON answer a line. Every request runs in its own context, as the proxy's do, with the proxy's
Redis batch; the local mirrors are emptied before each, so that Redis alone decides.
  {"op":"reserve","id","strict","cost","estimate","descriptors":[..],"checks":[..],"charges":[..]}
  {"op":"model_gate"|"model_spend","key":[token,alias,budgets],"user":[id,budgets],"team":[id,budgets],"model","cost"}
  {"op":"settle","id","outcome":"answered"|"failed"|"cancelled","tokens","cost","targets":[[key,value]..],"payers":[..]}
"""
import asyncio, contextvars, json, os, sys

sys.stdout, answers = sys.stderr, sys.stdout
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm
from litellm.caching.caching import DualCache
from litellm.caching.redis_batch import request_redis_batch_scope
from litellm.caching.redis_cache import RedisCache
from litellm.proxy import proxy_server
from litellm.proxy._types import UserAPIKeyAuth
from litellm.proxy.hooks import parallel_request_limiter_v3 as v3
from litellm.proxy.hooks.model_max_budget_limiter import PROXY_VirtualKeyModelMaxBudgetLimiter
from litellm.proxy.spend_tracking import budget_reservation as reservation
from litellm.proxy.spend_tracking.spend_counter_batch import PendingSpendIncrement
from litellm.proxy.utils import InternalUsageCache

redis = RedisCache(host="127.0.0.1", port=os.environ["REDIS_PORT"], db=int(sys.argv[1]))
proxy_server.spend_counter_cache = DualCache(redis_cache=redis)
usage = DualCache(redis_cache=redis)
handler = v3.PROXY_MaxParallelRequestsHandler_v3(InternalUsageCache(usage))
budgets = PROXY_VirtualKeyModelMaxBudgetLimiter(proxy_server.spend_counter_cache)
open_calls = {}


def empty_mirrors():
    usage.in_memory_cache.flush_cache()
    proxy_server.spend_counter_cache.in_memory_cache.flush_cache()


async def reserve(ask):
    proxy_server.general_settings["fail_closed_budget_enforcement"] = ask["strict"]
    with request_redis_batch_scope():
        for index, check in enumerate(ask["checks"]):
            spend = await proxy_server.get_current_spend(check["key"], fallback_spend=0.0, max_budget=check["max"])
            if spend >= check["max"] if check["over"] == ">=" else spend > check["max"]:
                return {"kind": "budget", "index": index, "spend": spend}, None
        counters = [
            reservation._BudgetCounter(charge["key"], charge["max"], 0.0, "Key", str(index), source_cache_key="none")
            for index, charge in enumerate(ask["charges"])
        ]
        applied, cost = [], ask["cost"]
        if counters and cost > 0:
            try:
                with reservation._counters_batch_scope(frozenset(c.counter_key for c in counters)):
                    ready = await reservation._initialize_reservation_counters(counters, ask["strict"])
                    cost = await reservation._reserve_reservable_counters(ready, None, applied, cost, ask["strict"])
            except litellm.BudgetExceededError as error:
                await reservation._release_applied_entries_best_effort(applied, cost)
                return {"kind": "room", "message": error.message}, None
        booked = {"reserved_cost": cost, "entries": applied, "finalized": False}
        data = {"model": "m", "messages": [{"role": "user", "content": "abcd"}], "max_tokens": ask["estimate"] - 1,
                "litellm_call_id": ask["id"]}

        async def descriptors(**_):
            return [
                {"key": d["key"], "value": d["value"],
                 "rate_limit": {"requests_per_unit": d["requests"], "tokens_per_unit": d["tokens"],
                                "max_parallel_requests": d["parallel"], "window_size": handler.window_size}}
                for d in ask["descriptors"]
            ]

        handler._build_request_rate_limit_descriptors = descriptors
        user = UserAPIKeyAuth(api_key="k")
        try:
            await handler.async_pre_call_hook(user, usage, data, "acompletion")
        except Exception as error:
            await reservation.release_budget_reservation(booked)
            return {"kind": "rate", "message": str(error.detail), "headers": error.headers}, None
        stash = v3.get_request_stash()
        statuses = (stash.rate_limit_response or {}).get("statuses", [])
        headers = handler._merge_ratelimit_statuses_into_additional_headers({}, statuses)
        answer = {"kind": "ok", "charged": cost if applied else 0.0, "headers": [[k, str(v)] for k, v in headers.items()]}
        return answer, (booked, data, user)


async def settle(end):
    booked, data, user = open_calls.pop(end["id"])[1]
    stash = v3.get_request_stash()
    if end["outcome"] == "answered":
        await handler._release_stashed_parallel_slot(stash, None)
        ops = handler._build_reservation_aware_tpm_ops(
            [tuple(target) for target in end["targets"]], stash.reserved_scopes, end["tokens"], stash.reserved_tokens)
        await handler.async_increment_tokens_with_ttl_preservation(ops)
        done = reservation.get_reserved_counter_keys(booked)
        await reservation.reconcile_budget_reservation(booked, end["cost"])
        if end["cost"]:
            await proxy_server.increment_spend_counters_pipeline(
                [PendingSpendIncrement(key, end["cost"]) for key in end["payers"] if key not in done])
    elif end["outcome"] == "failed":
        await handler.async_post_call_failure_hook(data, Exception("provider"), user)
        await reservation.release_or_invalidate_budget_reservation(booked)
    else:
        await handler.async_release_max_parallel_requests_on_disconnect(user)
        booked["input_cost"] = end["cost"]
        await reservation.release_budget_reservation_on_cancel(booked)
    return {"kind": "settled"}


async def model_budgets(ask):
    """Compares (model_gate) or adds to (model_spend) the budgets of a model, as authentication and the success hook do."""
    (token, alias, own), (user, users), (team, teams) = ask["key"], ask["user"], ask["team"]
    model = ask["model"]
    if ask["op"] == "model_spend":
        metadata = {"user_api_key_model_max_budget": own, "user_api_key_team_model_max_budget": teams,
                    "user_api_key_user_model_max_budget": users}
        payload = {"model_group": model, "response_cost": ask["cost"], "metadata": {
            "user_api_key_hash": token, "user_api_key_team_id": team, "user_api_key_user_id": user}}
        call = {"standard_logging_object": payload, "litellm_params": {"metadata": metadata}, "call_type": "acompletion"}
        await budgets.async_log_success_event(call, None, None, None)
        return {"kind": "settled"}
    caller = UserAPIKeyAuth(api_key="k", key_alias=alias, model_max_budget=own)
    caller.token = token
    try:
        if own:
            await budgets.is_key_within_model_budget(caller, model)
        if users:
            await budgets.is_user_within_model_budget(user, users, model)
        if teams:
            await budgets.is_team_within_model_budget(team, teams, own, model)
    except litellm.BudgetExceededError as error:
        return {"kind": "budget", "message": error.message, "spend": error.current_cost, "max": error.max_budget,
                "entity": error.entity_type, "id": error.entity_id}
    return {"kind": "ok"}


async def main():
    loop = asyncio.get_running_loop()
    print(json.dumps({"kind": "ready"}), file=answers, flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        ask = json.loads(line)
        empty_mirrors()
        if ask["op"].startswith("model_"):
            answer = await model_budgets(ask)
        elif ask["op"] == "reserve":
            context = contextvars.Context()
            answer, state = await loop.create_task(reserve(ask), context=context)
            if state:
                open_calls[ask["id"]] = (context, state)
        else:
            answer = await loop.create_task(settle(ask), context=open_calls[ask["id"]][0])
        print(json.dumps(answer), file=answers, flush=True)


asyncio.run(main())
