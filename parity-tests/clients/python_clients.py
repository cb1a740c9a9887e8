"""Drives the SDKs for Python: one JSON line in, one call of an application, one JSON line out with what it saw.

In:  {"client", "base_url", "api_key", "call", "args", "options", "stop_after", "raw"}
Out: {"http": [{"status", "header"} | {"none": true}], "outcome": {"result" | "events", "final", "error"}}
The calls are plain data (parity-tests/cases); nothing here knows a scenario. The SDKs are not altered: their HTTP
client gets two listeners that note every attempt.
"""
import asyncio
import json
import sys

import anthropic
import httpx2
import openai
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class Weather(BaseModel):
    """The structured output that cases ask for as {"$model": "weather"}."""

    city: str
    degrees: int


MODELS = {"weather": Weather}
CLIENTS = {
    "openai-python": (openai.OpenAI, "/v1", False),
    "openai-python-async": (openai.AsyncOpenAI, "/v1", True),
    "anthropic-python": (anthropic.Anthropic, "", False),
    "anthropic-python-async": (anthropic.AsyncAnthropic, "", True),
    "langchain": (ChatOpenAI, "/v1", False),
    "langchain-async": (ChatOpenAI, "/v1", True),
}


class Attempts:
    """What went over the wire: one entry an HTTP attempt."""

    def __init__(self):
        self.seen = []

    def sent(self, request):
        entry = {"none": True}
        request.extensions["parity"] = entry
        self.seen.append(entry)

    def came(self, response):
        header = {}
        for name, value in response.headers.multi_items():
            if name.lower() != "content-length":
                header.setdefault(name.lower(), []).append(value)
        entry = response.request.extensions["parity"]
        entry.clear()
        entry.update({"status": response.status_code, "header": dict(sorted(header.items()))})

    def client(self):
        return httpx2.Client(event_hooks={"request": [self.sent], "response": [self.came]})

    def async_client(self):
        async def sent(request):
            self.sent(request)

        async def came(response):
            self.came(response)

        return httpx2.AsyncClient(event_hooks={"request": [sent], "response": [came]})


def plain(value):
    """A JSON tree of what the SDK handed out, with the class the application sees."""
    if isinstance(value, BaseModel):
        return {"class": type(value).__name__, **value.model_dump(mode="json", exclude_unset=True, warnings=False)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    fields = getattr(value, "__dict__", None)
    if fields is None:
        return str(type(value).__name__)
    return {"class": type(value).__name__, **{k: plain(v) for k, v in fields.items() if not k.startswith("_")}}


def failure(error):
    seen = {"class": [c.__name__ for c in type(error).__mro__ if c not in (object, BaseException)], "message": str(error)}
    for name in ("status_code", "code", "type", "param", "body", "request_id"):
        if hasattr(error, name):
            seen[name] = plain(getattr(error, name))
    return seen


def resolve(value):
    """`{"$model": name}` stands for a class."""
    if isinstance(value, dict):
        return MODELS[value["$model"]] if "$model" in value else {k: resolve(v) for k, v in value.items()}
    return [resolve(item) for item in value] if isinstance(value, list) else value


def target(order, attempts):
    """The method an application would call."""
    kind, path, is_async = CLIENTS[order["client"]]
    options = {"max_retries": 0, **order.get("options", {})}
    options.update(api_key=order["api_key"], base_url=order["base_url"] + path)
    args = resolve(order["args"])
    if kind is ChatOpenAI:
        return langchain(order, options, args, attempts)
    client = kind(**options, http_client=attempts.async_client() if is_async else attempts.client())
    names = order["call"].split(".")
    if order.get("raw"):
        names.insert(-1, "with_raw_response")
    method = client
    for name in names:
        method = getattr(method, name)
    return lambda: method(**args)


def langchain(order, options, args, attempts):
    """`args`: of the model; `tools`, `structured` and `input` are what LangChain has a method for."""
    tools, structured, given = args.pop("tools", None), args.pop("structured", None), args.pop("input")
    model = ChatOpenAI(
        **options, **args, http_client=attempts.client(), http_async_client=attempts.async_client()
    )
    if tools:
        model = model.bind_tools(tools)
    if structured:
        model = model.with_structured_output(structured, include_raw=True)
    config = {"max_concurrency": 1}  # the provider's answers are in order
    call = ("a" if CLIENTS[order["client"]][2] else "") + order["call"]
    return lambda: getattr(model, call)(given, config=config)


def finals(stream):
    """What the stream helpers have put together."""
    return [getattr(stream, name) for name in ("get_final_completion", "get_final_message") if hasattr(stream, name)]


def drive(order, outcome, attempts):
    result = target(order, attempts)()
    if order.get("raw"):
        outcome["raw"] = {"status": result.status_code, "request_id": plain(result.request_id)}
        result = result.parse()
    if not hasattr(result, "__next__") and hasattr(result, "__enter__") and not hasattr(result, "__iter__"):
        with result as stream:
            listen(stream, order, outcome)
            for final in finals(stream):
                outcome["final"] = plain(final())
    elif hasattr(result, "__next__"):
        listen(result, order, outcome)
        if hasattr(result, "close"):
            result.close()
    else:
        outcome["result"] = plain(result)


def listen(stream, order, outcome):
    events = outcome.setdefault("events", [])
    for event in stream:
        events.append(plain(event))
        if len(events) == order.get("stop_after"):
            return


async def drive_async(order, outcome, attempts):
    result = target(order, attempts)()
    if hasattr(result, "__await__"):
        result = await result
    if order.get("raw"):
        outcome["raw"] = {"status": result.status_code, "request_id": plain(result.request_id)}
        result = result.parse()
    if hasattr(result, "__aenter__") and not hasattr(result, "__aiter__"):
        async with result as stream:
            await listen_async(stream, order, outcome)
            for final in finals(stream):
                outcome["final"] = plain(await final())
    elif hasattr(result, "__anext__"):
        await listen_async(result, order, outcome)
        if hasattr(result, "close"):
            await result.close()
    else:
        outcome["result"] = plain(result)


async def listen_async(stream, order, outcome):
    events = outcome.setdefault("events", [])
    async for event in stream:
        events.append(plain(event))
        if len(events) == order.get("stop_after"):
            return


def main():
    for line in sys.stdin:
        order = json.loads(line)
        attempts, outcome = Attempts(), {}
        try:
            if CLIENTS[order["client"]][2]:
                asyncio.run(drive_async(order, outcome, attempts))
            else:
                drive(order, outcome, attempts)
        except Exception as error:  # what an application would have to catch
            outcome["error"] = failure(error)
        print(json.dumps({"http": attempts.seen, "outcome": outcome}), flush=True)


main()
