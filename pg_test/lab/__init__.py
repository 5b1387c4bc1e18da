"""The laboratory: tools, PostgreSQL installations and private servers, all under target/."""
