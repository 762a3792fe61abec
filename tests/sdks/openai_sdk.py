"""OpenAI's own library: both APIs, each once whole and once as a stream. Prints all that came, as JSON."""

import json
import os

import openai

client = openai.OpenAI(base_url=os.environ["URL"] + "/v1", api_key=os.environ["TOKEN"], max_retries=0)
common = {"model": "gpt-6.1-terra", "service_tier": "default"}
ask = {**common, "input": "Say something.", "max_output_tokens": 1000}
response = client.responses.create(**ask)
events = [event.to_dict() for event in client.responses.create(**ask, stream=True)]
ask = {
    **common,
    "messages": [{"role": "user", "content": "Say something."}],
    "max_completion_tokens": 1000,
}
chat = client.chat.completions.create(**ask)
options = {"stream": True, "stream_options": {"include_usage": True}}
chunks = list(client.chat.completions.create(**ask, **options))
streamed = events[-1]["response"]
usages = [
    {"input": response.usage.input_tokens, "output": response.usage.output_tokens},
    {"input": streamed["usage"]["input_tokens"], "output": streamed["usage"]["output_tokens"]},
    {"input": chat.usage.prompt_tokens, "output": chat.usage.completion_tokens},
    {"input": chunks[-1].usage.prompt_tokens, "output": chunks[-1].usage.completion_tokens},
]
texts = [
    response.output_text,
    "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta"),
    chat.choices[0].message.content,
    "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices),
]
came = {
    "response": response.to_dict(),
    "events": events,
    "chat": chat.to_dict(),
    "chunks": [chunk.to_dict() for chunk in chunks],
}
print(json.dumps({"came": came, "texts": texts, "usages": usages}))
