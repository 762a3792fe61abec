"""Anthropic's own library: one answer whole, one as a stream, and a count. Prints all that came, as JSON."""

import json
import os

import anthropic

client = anthropic.Anthropic(base_url=os.environ["URL"], api_key=os.environ["TOKEN"], max_retries=0)
ask = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 1000,
    "messages": [{"role": "user", "content": "Say something."}],
}
whole = client.messages.create(**ask)
with client.messages.stream(**ask) as stream:
    events = [event.to_dict() for event in stream]
    last = stream.get_final_message()
ask.pop("max_tokens")
count = client.messages.count_tokens(**ask)
usages = [{"input": m.usage.input_tokens, "output": m.usage.output_tokens} for m in (whole, last)]
came = {"whole": whole.to_dict(), "events": events, "last": last.to_dict(), "count": count.to_dict()}
print(json.dumps({"came": came, "texts": [m.content[0].text for m in (whole, last)], "usages": usages}))
