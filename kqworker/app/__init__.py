"""What a user declares: the app, its handlers, what they take and what they return.

app.py holds the app, handler.py one handler and its policy, around.py what is called around
it; signature/ reads what a function asks for, payload/ decodes and encodes,
binding.py gives a handler its messages. context.py and delivery.py are what a handler can
learn and push; connection.py is the connection of pushes outside of workers, process_exit.py
ends it with the process. Imports neither Kafka nor processes. Tested by tests/app.
"""
