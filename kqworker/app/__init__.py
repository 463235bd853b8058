"""What a user declares: the app, its handlers, what they take and what they return.

app.py holds what belongs together, handler.py one handler and its policy, around.py what is
called around it; signature/ reads what a function asks for, payload/ decodes and encodes,
binding.py gives a handler its messages. context.py and delivery.py are what a handler may
learn and push; connection.py is the way of pushes that are made elsewhere, process_exit.py
what a process owes it. Imports neither Kafka nor processes. Tested by tests/app.
"""
