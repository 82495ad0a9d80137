"""Amazon SES, version 2 of its API. SES keeps no idempotency keys, so an attempt is one request and no more."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
)

from oms.messages.notifier import Mail, NotSent, Refused, Uncertain

# Answers that will be the same tomorrow unless the mail or its recipient changes.
_FINAL = frozenset({"BadRequestException", "MessageRejected", "NotFoundException"})


class SesNotifier:
    """``client`` is an ``sesv2`` client that never repeats a request by itself."""

    def __init__(self, client: Any, *, sender: str, reply_to: str = "", configuration_set: str = "") -> None:
        self._client = client
        self._sender = sender
        self._reply_to = reply_to
        self._configuration_set = configuration_set

    def send(self, mail: Mail) -> str:
        """SES has it once it answers with an id. A refusal is certain; silence is not."""
        request: dict[str, Any] = {
            "FromEmailAddress": self._sender,
            "Destination": {"ToAddresses": [mail.to]},
            "Content": {
                "Simple": {
                    "Subject": {"Data": mail.subject, "Charset": "UTF-8"},
                    "Body": {
                        "Text": {"Data": mail.text, "Charset": "UTF-8"},
                        "Html": {"Data": mail.html, "Charset": "UTF-8"},
                    },
                }
            },
            "EmailTags": [{"Name": name, "Value": value} for name, value in sorted(mail.tags.items())],
        }
        if self._reply_to:
            request["ReplyToAddresses"] = [self._reply_to]
        if self._configuration_set:
            request["ConfigurationSetName"] = self._configuration_set
        try:
            return str(self._client.send_email(**request)["MessageId"])
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _FINAL:
                raise Refused(code) from None
            if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
                raise Uncertain(code) from None
            # Throttles, a paused account, a domain that is not verified yet: all of that passes.
            raise NotSent(code) from None
        except (ConnectTimeoutError, EndpointConnectionError, NoCredentialsError) as error:
            raise NotSent(type(error).__name__) from None
        except BotoCoreError as error:
            raise Uncertain(type(error).__name__) from None
