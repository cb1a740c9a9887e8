#!/usr/bin/env python3
"""Writes tests/golden/limits/descriptors.json: which limits LiteLLM 1.106.2 sees for many keys and requests.

    limits_golden.py > tests/golden/limits/descriptors.json

Each case: the rows of a key as `auth::record::Identity` reads them, the request, LiteLLM's descriptors in its order, the
token counters a finished call is added to, the tokens it reserves and the output cap it writes. Seeded: two runs write
the same.
"""
import asyncio, copy, json, os, random, sys

out, sys.stdout = sys.stdout, sys.stderr
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
from litellm.caching.caching import DualCache
from litellm.proxy._types import LiteLLM_VerificationTokenView, UserAPIKeyAuth
from litellm.proxy.auth.auth_utils import get_estimated_output_tokens
from litellm.proxy.hooks import parallel_request_limiter_v3 as v3
from litellm.proxy.utils import InternalUsageCache

ALIASES = {"nick": "gpt-4o"}
dice = random.Random(4)


def maybe(value, chance=0.5):
    return value() if dice.random() < chance else None


def limit():
    return dice.choice([0, 1, 7, 60, 1000, 5000, 100000])


def metadata(tags=False):
    found = {}
    for name in ("model_rpm_limit", "model_tpm_limit"):
        if dice.random() < 0.4:
            found[name] = {m: limit() for m in ("gpt-4o", "nick", "other") if dice.random() < 0.5}
    if tags and dice.random() < 0.4:
        found["tag_rpm_limit"] = {"a": 3, "c": 4}
    if dice.random() < 0.2:
        found["default_estimated_output_tokens"] = dice.choice([5, 2000, 0, "x"])
    if dice.random() < 0.2:
        found["default_estimated_output_tokens_per_model"] = dice.choice([{"gpt-4o": 11}, {"nick": 13, "other": 2}, {"gpt-4o": -1}])
    return found


def budget(name, chance=0.6):
    return maybe(lambda: {"budget_id": name, "max_budget": None, "tpm_limit": maybe(limit), "rpm_limit": maybe(limit),
                          "model_max_budget": maybe(lambda: {"gpt-4o": {"rpm_limit": 9, "tpm_limit": maybe(limit)}}, 0.3) or {}}, chance)


def identity():
    team = maybe(lambda: {"team_id": "t1", "organization_id": maybe(lambda: "o2"), "metadata": metadata(), "tpm_limit": maybe(limit, 0.3),
                          "rpm_limit": maybe(limit, 0.3), "spend": 0.0})
    user_id = maybe(lambda: "u1", 0.7)
    key = {"token": "ab" * 32, "key_name": "sk-...wxyz", "user_id": user_id, "team_id": team and "t1", "metadata": metadata(True),
           "project_id": maybe(lambda: "p1", 0.4), "max_parallel_requests": maybe(lambda: dice.choice([0, 1, 5]), 0.3),
           "tpm_limit": maybe(limit, 0.3), "rpm_limit": maybe(limit, 0.3), "organization_id": maybe(lambda: "o1", 0.4),
           "model_max_budget": maybe(lambda: {"gpt-4o": {"rpm_limit": maybe(limit), "tpm_limit": maybe(limit)}}, 0.3) or {}}
    org = key["organization_id"] or (team and team["organization_id"])
    return {
        "key": key, "team": team,
        "budget": budget("b"), "membership": None, "member_budget": team and user_id and budget("m"), "default_member_budget": None,
        "user": user_id and {"user_id": "u1", "rpm_limit": maybe(limit, 0.3), "tpm_limit": maybe(limit, 0.3)},
        "organization": org and {"organization_id": org, "metadata": metadata()}, "organization_budget": org and budget("o"),
        "project": key["project_id"] and {"project_id": "p1", "metadata": metadata()}, "project_budget": None,
        "key_permission": None, "team_permission": None, "user_permission": None,
    }


def auth_of(rows, end_user):
    key, team, get = rows["key"], rows["team"] or {}, lambda name: rows[name] or {}
    view = dict(key)
    for name in ("tpm_limit", "rpm_limit", "model_max_budget"):
        view["litellm_budget_table_" + name] = get("budget").get(name)
    for name in ("tpm_limit", "rpm_limit", "metadata"):
        view["team_" + name] = team.get(name)
    for name in ("tpm_limit", "rpm_limit"):
        view["team_member_" + name] = get("member_budget").get(name)
        view["organization_" + name] = get("organization_budget").get(name)
    view["organization_id"] = get("organization").get("organization_id")
    view["organization_metadata"], view["project_metadata"] = get("organization").get("metadata"), get("project").get("metadata")
    view = LiteLLM_VerificationTokenView(**{k: v for k, v in view.items() if v is not None})
    auth = UserAPIKeyAuth(**{**view.model_dump(exclude_none=True), "api_key": key["token"]})
    auth.user_rpm_limit, auth.user_tpm_limit = get("user").get("rpm_limit"), get("user").get("tpm_limit")
    if end_user:
        auth.end_user_id, auth.end_user_rpm_limit, auth.end_user_tpm_limit = end_user["id"], end_user["rpm"], end_user["tpm"]
    return auth


TEXTS = ["", "", "a", "a", "abcd", "abcd", "a longer text " * 6, "ünïcödé ✓", "x" * 5001]


def body(kind):
    found = {"model": dice.choice(["gpt-4o", "nick", "other"])}
    if kind == "acompletion":
        blocks = [{"type": "text", "text": dice.choice(TEXTS)}, {"type": "image_url", "image_url": {"url": "data:x"}}]
        found["messages"] = [{"role": "user", "content": dice.choice([dice.choice(TEXTS[:-1]), dice.choice(TEXTS[:-1]), blocks])} for _ in range(dice.randint(0, 3))]
        for name in ("max_tokens", "max_completion_tokens"):
            if dice.random() < 0.2:
                found[name] = dice.choice([0, 1, 50, 70000])
    else:
        found["input"] = dice.choice([dice.choice(TEXTS), ["one", "two words"], [{"role": "user", "content": "it's \"so\"\n", "n": [1, 2.5, True, None]}]])
        if kind == "aresponses" and dice.random() < 0.3:
            found["max_output_tokens"] = dice.choice([1, 16, 900])
    if dice.random() < 0.15:
        found["n"] = dice.choice([1, 3])
    if dice.random() < 0.5:
        found["metadata"] = {"tags": dice.choice([["a"], ["a", "b", "a"], ["c"], []])}
    return found


async def case():
    rows, kind = identity(), dice.choice(["acompletion"] * 3 + ["aresponses", "aembedding"])
    end_user = maybe(lambda: {"id": "e1", "rpm": maybe(limit), "tpm": maybe(limit)}, 0.4)
    request = body(kind)
    tags = request.get("metadata", {}).get("tags", [])
    tag_rates = {t: {"rpm": maybe(limit), "tpm": maybe(limit)} for t in ("a", "b") if dice.random() < 0.4}
    tag_rates = {t: r for t, r in tag_rates.items() if r["rpm"] is not None or r["tpm"] is not None}

    async def tag_limits(names):
        return {n: v3.TagRateLimit(rpm_limit=tag_rates[n]["rpm"], tpm_limit=tag_rates[n]["tpm"]) for n in names if n in tag_rates}

    handler = v3.PROXY_MaxParallelRequestsHandler_v3(
        InternalUsageCache(DualCache()), tag_rate_limit_resolver=tag_limits, model_group_resolver=ALIASES.get)
    auth = auth_of(rows, end_user)
    found = await handler._build_request_rate_limit_descriptors(user_api_key_dict=auth, data=request, call_type=kind)
    flat = [[d["key"], d["value"], *(d["rate_limit"].get(n) for n in ("requests_per_unit", "tokens_per_unit", "max_parallel_requests"))]
            for d in found]
    limits = [d[3] for d in flat if d[3] is not None]
    tokens, cap = None, None
    if limits:
        sent, declared = copy.deepcopy(request), get_estimated_output_tokens(auth, request["model"])
        handler._apply_implicit_output_cap(sent, min(limits), kind, declared)
        tokens = max(handler._estimate_tokens_for_request(sent, request["model"], min(limits), kind, declared), 1)
        cap = next(([k, v] for k, v in sent.items() if request.get(k) != v), None)
    group = ALIASES.get(request["model"], request["model"])
    targets = handler._collect_tpm_scope_targets(
        {"user_api_key_hash": auth.api_key, "user_api_key_user_id": auth.user_id, "user_api_key_team_id": auth.team_id,
         "user_api_key_org_id": auth.org_id, "user_api_key_project_id": auth.project_id, "user_api_key_end_user_id": auth.end_user_id},
        {}, group, frozenset(d[1] for d in flat if d[0] == "tag" and d[3] is not None))
    owns = handler._key_owns_model_tpm_limit_from_request_metadata(
        {"user_api_key_metadata": auth.metadata, "user_api_key_model_max_budget": auth.model_max_budget},
        handler._rate_limited_model(request["model"]))
    targets = [list(t) for t in targets if not (owns and t[0] == "model_per_team")]
    return {"identity": rows, "kind": kind, "body": request, "group": group, "end_user": end_user, "tags": tags,
            "tag_rates": tag_rates, "descriptors": flat, "tokens": tokens, "cap": cap, "targets": targets}


async def main():
    cases = [await case() for _ in range(150)]
    out.write("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")


asyncio.run(main())
