"""The comparison with recorded answers: it must let made-up values differ, and nothing else."""

from functional.recorded.matching import Matching, Place, parsed_refusal
from functional.recorded.support import Recording

HERE = Place("000000000000", "eu-central-1")
ONE, TWO = "c0ffee00-0000-4000-8000-000000000001", "c0ffee00-0000-4000-8000-000000000002"


def test_equal_answers_match() -> None:
    answer = {"Timeout": 3, "Weights": {"2": 0.2}, "Names": ["a", "b"], "Absent": None}
    assert not Matching(HERE).differences(answer, answer)


def test_the_same_placeholder_is_the_same_value_in_all_answers() -> None:
    matching = Matching(HERE)
    recorded = {"RevisionId": "<uuid:1>"}
    assert not matching.differences(recorded, {"RevisionId": ONE})
    assert not matching.differences(recorded, {"RevisionId": ONE})
    assert matching.differences(recorded, {"RevisionId": TWO})


def test_another_number_is_another_value() -> None:
    matching = Matching(HERE)
    assert not matching.differences("<uuid:1>", ONE)
    assert matching.differences("<uuid:2>", ONE)
    assert not matching.differences("<uuid:2>", TWO)


def test_a_placeholder_has_the_form_of_what_it_stands_for() -> None:
    assert Matching(HERE).differences("<uuid:1>", "not-a-uuid")
    assert Matching(HERE).differences("<code-sha256:1>", "short")


def test_placeholders_are_found_inside_texts_with_account_region_and_partition() -> None:
    matching = Matching(HERE)
    recorded = "Function not found: arn:<partition>:lambda:<region>:111111111111:function:<function-name:1>:1"
    arn = "arn:aws:lambda:eu-central-1:000000000000:function"
    assert not matching.differences(recorded, f"Function not found: {arn}:mine:1")
    assert matching.differences(recorded, f"Function not found: {arn}:other:1")
    assert matching.known["function-name:1"] == "mine"
    assert matching.differences(recorded, "Function not found: arn:aws:lambda:us-east-1:000000000000:function:mine:1")


def test_a_placeholder_twice_in_a_text_is_one_value() -> None:
    recorded = "<function-name:1> and <function-name:1>"
    assert not Matching(HERE).differences(recorded, "a and a")
    assert Matching(HERE).differences(recorded, "a and b")


def test_repetitions_are_spelt_out() -> None:
    assert not Matching(HERE).differences("name-<a:len(4)>aa", "name-aaaaaa")
    assert Matching(HERE).differences("name-<a:len(4)>aa", "name-aaaaa")


def test_regular_expressions_in_texts_are_compared_letter_by_letter() -> None:
    recorded = r"must satisfy regular expression pattern: \$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+"
    assert not Matching(HERE).differences(recorded, recorded)
    assert Matching(HERE).differences(recorded, recorded.replace("?", ""))


def test_missing_and_surplus_members_are_told_with_their_paths() -> None:
    recorded, answer = {"Configuration": {"State": "Active"}}, {"Configuration": {"Status": "Active"}}
    differences = Matching(HERE).differences(recorded, answer)
    assert len(differences) == 2
    assert differences[0].startswith("Configuration.State: ")
    assert differences[1].startswith("Configuration.Status: ")


def test_a_member_that_aws_has_added_since_is_not_held_against_an_answer() -> None:
    answer = {"State": "Active", "SnapStart": {"ApplyOn": "None"}}
    assert not Matching(HERE, day="2022-12-23").differences({"State": "Active"}, answer)
    assert Matching(HERE, day="2025-11-25").differences({"State": "Active"}, answer)


def test_types_are_compared() -> None:
    assert Matching(HERE).differences({"Version": 1}, {"Version": "1"})
    assert Matching(HERE).differences({"Enabled": False}, {"Enabled": 0})
    assert Matching(HERE).differences({"Message": None}, {"Message": "None"})


def test_lists_are_compared_in_order_and_length() -> None:
    assert Matching(HERE).differences(["a", "b"], ["b", "a"])
    assert Matching(HERE).differences(["a"], ["a", "b"])


def test_texts_of_json_are_compared_as_what_they_say() -> None:
    recorded = {"Policy": {"Version": "2012-10-17", "Statement": [{"Sid": "s3"}]}}
    assert not Matching(HERE).differences(recorded, {"Policy": '{"Statement":[{"Sid":"s3"}],"Version":"2012-10-17"}'})
    assert Matching(HERE).differences(recorded, {"Policy": "{}"})
    assert Matching(HERE).differences(recorded, {"Policy": "no JSON"})


def test_of_the_metadata_only_the_status_counts() -> None:
    recorded = {"ResponseMetadata": {"HTTPStatusCode": 201}}
    assert not Matching(HERE).differences(
        recorded, {"ResponseMetadata": {"HTTPStatusCode": 201, "RequestId": ONE, "HTTPHeaders": {"date": "today"}}}
    )
    assert Matching(HERE).differences(recorded, {"ResponseMetadata": {"HTTPStatusCode": 200}})
    assert not Matching(HERE).differences({}, {"ResponseMetadata": {"HTTPStatusCode": 200}})


def test_dates_have_the_form_of_their_member() -> None:
    function = {"Configuration": {"LastModified": "date"}}
    assert not Matching(HERE).differences(function, {"Configuration": {"LastModified": "2026-01-02T03:04:05.678+0000"}})
    assert Matching(HERE).differences(function, {"Configuration": {"LastModified": "2026-01-02T03:04:05.678901Z"}})
    url = {"CreationTime": "date"}
    assert not Matching(HERE).differences(url, {"CreationTime": "2026-01-02T03:04:05.678901Z"})
    assert Matching(HERE).differences(url, {"CreationTime": "yesterday"})


def test_sizes_and_locations_are_of_any_value_but_not_of_any_kind() -> None:
    recorded = {"CodeSize": "<code-size>", "Location": "<location>"}
    assert not Matching(HERE).differences(recorded, {"CodeSize": 274, "Location": "http://127.0.0.1:4566/code?token=1"})
    assert Matching(HERE).differences(recorded, {"CodeSize": "274", "Location": "http://127.0.0.1:4566/code?token=1"})
    assert Matching(HERE).differences(recorded, {"CodeSize": 274, "Location": "somewhere"})


def test_a_refusal_of_the_first_validation_layer_is_taken_apart() -> None:
    first, second = "Value 'a; b' at 'role' failed to satisfy constraint: c", "Value null at 'code' failed: d"
    message = f"2 validation errors detected: {second}; {first}"
    assert parsed_refusal({"Error": {"Code": "ValidationException", "Message": message}}) == {
        "Code": "ValidationException",
        "Count": 2,
        "Errors": [first, second],
    }


def test_other_refusals_are_shown_whole() -> None:
    refusal = {"Error": {"Code": "ResourceNotFoundException", "Message": "none"}, "Type": "User"}
    assert parsed_refusal(refusal) == {"Code": "ResourceNotFoundException", "Message": "none"}


def test_an_update_may_be_over_when_it_is_looked_at() -> None:
    reasons = {"LastUpdateStatusReason": "being created", "LastUpdateStatusReasonCode": "Creating"}
    recorded = {"Configuration": {"LastUpdateStatus": "InProgress", "RevisionId": "<uuid:3>", **reasons}}
    over = {"Configuration": {"LastUpdateStatus": "Successful", "RevisionId": TWO}}
    going_on = {"Configuration": {"LastUpdateStatus": "InProgress", "RevisionId": ONE, **reasons}}
    recording = Recording("key", "2025-11-25", {"get": recorded}, HERE)
    recording.check_updating("get", going_on)
    recording.check_updating("get", over)


def test_a_replay_has_to_check_every_answer() -> None:
    recording = Recording("key", "2025-11-25", {"first": {"State": "Active"}, "second": {}}, HERE)
    recording.check("first", {"State": "Active"})
    try:
        recording.finish()
    except AssertionError as missed:
        assert "second" in str(missed)
    else:
        raise AssertionError("an answer was forgotten without anyone noticing")
    recording.leave_out("second")
    recording.finish()
