"""The bus over Kafka: a real broker where one is named, librdkafka's own cluster elsewhere."""
