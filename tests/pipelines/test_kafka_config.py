import pytest

from pipelines.errors import ConfigurationError
from pipelines.kafka_config import properties, refused


@pytest.fixture
def file(tmp_path):
    def write(text):
        (tmp_path / "kafka.properties").write_text(text)
        return str(tmp_path / "kafka.properties")

    return write


def test_settings_of_librdkafka(file, monkeypatch):
    monkeypatch.setenv("SECRET", "p=w#d")
    uri = file("# ours\nbootstrap.servers = a:1,b:2\n\nsasl.mechanism=SCRAM-SHA-512\nsasl.password=${SECRET}\n")
    assert properties(uri) == {
        "bootstrap.servers": "a:1,b:2",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.password": "p=w#d",
    }


def test_settings_of_java(file, monkeypatch):
    monkeypatch.setenv("SECRET", "s3")
    uri = file(
        "bootstrap.servers=a:1\nssl.truststore.type=PEM\nssl.truststore.location=/ca.pem\n"
        "ssl.endpoint.identification.algorithm=\n"
        "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\\n"
        '  username="me" password="${SECRET}\\"x";\n'
    )
    assert properties(uri) == {
        "bootstrap.servers": "a:1",
        "ssl.ca.location": "/ca.pem",
        "ssl.endpoint.identification.algorithm": "none",
        "sasl.username": "me",
        "sasl.password": 's3"x',
    }


@pytest.mark.parametrize(
    "text, said",
    [
        ("bootstrap.servers=a:1\nhunter2\n", "line 2: write one key=value"),
        ("sasl.password=hunter2\n", "bootstrap.servers is missing"),
        ("bootstrap.servers=a\nsasl.password=hunter2${NOT_THERE}\n", "no variable NOT_THERE"),
        ("bootstrap.servers=a\nssl.truststore.location=hunter2.jks\n", "must be PEM"),
        ("bootstrap.servers=a\nsasl.jaas.config=x required username=hunter2;\n", 'lacks username="..."'),
    ],
)
def test_what_is_wrong_is_named_without_a_value(file, text, said):
    with pytest.raises(ConfigurationError) as error:
        properties(file(text))
    assert said in str(error.value)
    assert "hunter2" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read on this worker"):
        properties(str(tmp_path / "none"))


def test_what_the_client_refuses_is_named_without_its_value():
    said = 'Invalid value "hunter2" for configuration property "security.protocol"'
    error = refused("f", {"security.protocol": "hunter2", "sasl.password": "hunter2"}, said)
    assert "(security.protocol)" in str(error)
    assert "hunter2" not in str(error)
