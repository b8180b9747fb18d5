"""LangChain and the OpenAI Agents SDK through a gateway. Not part of the tests, since both bring much along.

    pip install langchain-openai openai-agents
    equipoise serve &
    python examples/framework_clients.py http://127.0.0.1:8080 [KEY]

The models behind the route `auto` must know tools.
"""

from __future__ import annotations

import asyncio
import sys

from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI

QUESTION = "What is the weather in Paris and in Rome? Ask for both."


def weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


def langchain(base_url: str, key: str) -> None:
    """Answers, streams, tools."""
    model = ChatOpenAI(base_url=base_url, api_key=key, model="auto")
    print("LangChain, answer:", model.invoke("Say hello.").content)
    print("LangChain, stream:", "".join(str(chunk.content) for chunk in model.stream("Say hello.")))
    calls = model.bind_tools([tool(weather)]).invoke(QUESTION).tool_calls
    print("LangChain, tools:", [(call["name"], call["args"]) for call in calls])


async def agents(base_url: str, key: str) -> None:
    """An agent that calls a tool, by both of OpenAI's formats."""
    set_tracing_disabled(True)
    async with AsyncOpenAI(base_url=base_url, api_key=key) as client:
        for kind in (OpenAIChatCompletionsModel, OpenAIResponsesModel):
            model = kind(model="auto", openai_client=client)
            agent = Agent(name="helper", instructions="Be brief.", model=model, tools=[function_tool(weather)])
            print(f"Agents, {kind.__name__}:", (await Runner.run(agent, QUESTION)).final_output)
            streamed = Runner.run_streamed(agent, QUESTION)
            kinds = [event.type async for event in streamed.stream_events()]
            print(f"Agents, {kind.__name__}, stream of {len(kinds)} events:", streamed.final_output)


def main() -> None:
    """Both."""
    base_url, key = sys.argv[1].rstrip("/") + "/v1", sys.argv[2] if len(sys.argv) > 2 else "any"
    langchain(base_url, key)
    asyncio.run(agents(base_url, key))


if __name__ == "__main__":
    main()
