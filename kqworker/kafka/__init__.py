"""Everything that speaks to Kafka; the only room that imports confluent_kafka.

Shells around the core: source.py and sink.py are its ports, admin.py answers questions at
the start, properties.py makes librdkafka's properties of plain settings, logs.py tames its
log lines, devbroker.py is a broker for a developer's machine. Tested by tests/kafka_unit
and, against Apache Kafka, by tests/kafka.
"""
