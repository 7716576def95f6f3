"""Why a provider said no, out of statuses that mean several things and bodies of every provider's own."""

import pytest

from gateway.dialects.reasons import Reason, reason

QUOTA = "You exceeded your current quota, please check your plan and billing details."
SAID: list[tuple[int, str, Reason]] = [
    (429, '{"type":"rate_limit_exceeded","message":"Rate limit reached on requests per min"}', "rate_limited"),
    (429, '{"code":"insufficient_quota","message":"' + QUOTA + '"}', "credits_exhausted"),
    (429, '{"message":"' + QUOTA + '","quotaId":"RequestsPerMinutePerProject"}', "rate_limited"),
    (429, '{"message":"' + QUOTA + '","quotaId":"RequestsPerDayPerProject"}', "credits_exhausted"),
    (400, '{"message":"Your credit balance is too low to access the Anthropic API."}', "credits_exhausted"),
    (402, '{"message":"Insufficient Balance"}', "credits_exhausted"),
    (400, '{"error":{"code":"insufficient_quota","message":"No."}}', "credits_exhausted"),
    (400, '{"message":"Invalid schema for function \'insufficient_quota\'"}', "refused"),
    (422, '{"message":"not one of: \\"code\\":\\"insufficient_quota\\""}', "refused"),
    (400, '{"message":"The tool said: Your credit balance is too low"}', "refused"),
    (402, "", "credits_exhausted"),
    (401, '{"code":"invalid_api_key","message":"Incorrect API key provided"}', "unauthorized"),
    (403, "{}", "unauthorized"),
    (400, '{"message":"API key not valid. Please pass a valid API key."}', "unauthorized"),
    (404, "<html>", "model_unknown"),
    (400, '{"code":"model_not_found","message":"The model `gpt-9` does not exist"}', "model_unknown"),
    (400, '{"code":"context_length_exceeded"}', "context_length"),
    (400, '{"message":"prompt is too long: 250000 tokens > 200000 maximum"}', "context_length"),
    (400, '{"message":"The input token count (2000000) exceeds the maximum number allowed"}', "context_length"),
    (413, "", "context_length"),
    (529, '{"type":"overloaded_error"}', "overloaded"),
    (503, '{"status":"UNAVAILABLE"}', "overloaded"),
    (500, "", "failed"),
    (400, '{"message":"tools.0.name: String should match pattern"}', "refused"),
]


@pytest.mark.parametrize(("status", "body", "word"), SAID)
def test_why_a_provider_said_no(status: int, body: str, word: Reason) -> None:
    assert reason(status, body.encode()) == reason(status, body) == word
