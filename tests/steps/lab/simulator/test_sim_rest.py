"""The REST interfaces /api and /rest: sessions, tags, both shapes of bodies and errors."""

from __future__ import annotations

import json

import pytest

from tests.simulation import USER, estate, machine, running

API = ("/api/session", "/api/cis/tagging", "action")
REST = ("/rest/com/vmware/cis/session", "/rest/com/vmware/cis/tagging", "~action")

both = pytest.mark.parametrize("shape", [pytest.param(API, id="api"), pytest.param(REST, id="rest")])


@pytest.fixture
def client(simulate):
    return simulate(machine("a", tags=["backup/gold"]), machine("b", tags=["backup/gold", "site/x"]), tags=["site/y"])


def ask(client, method, target, body=None, token="", **headers):
    content = None if body is None else json.dumps(body).encode()
    sent = {"vmware_api_session_id": token, **headers} if token else headers
    status, _, answer = client.http(target, method, content, login=not token, **sent)
    return status, json.loads(answer) if answer else None


def value(shape, answer):
    return answer["value"] if shape is REST else answer


def login(client, shape):
    status, answer = ask(client, "POST", shape[0])
    assert status in (200, 201)
    return value(shape, answer)


def wrong_password(client, target):
    status, _, answer = client.http(target, "POST", None, login=False, Authorization="Basic eDp5")
    return status, json.loads(answer)


@pytest.mark.behaviour(51, "documented")
@pytest.mark.behaviour(51, "reported")
@both
def test_a_session_is_a_token_that_ends(client, shape):
    token = login(client, shape)
    assert ask(client, "GET", f"{shape[1]}/category", token=token)[0] == 200
    assert ask(client, "DELETE", shape[0], token=token)[0] in (200, 204)
    assert ask(client, "GET", f"{shape[1]}/category", token=token)[0] == 401
    assert not client.sim.rest.tokens


@pytest.mark.behaviour(51, "documented")
@both
def test_tags_are_listed_by_id_and_read_one_by_one(client, shape):
    token = login(client, shape)
    at = "" if shape is API else "id:"
    names = {}
    for one in value(shape, ask(client, "GET", f"{shape[1]}/category", token=token)[1]):
        found = value(shape, ask(client, "GET", f"{shape[1]}/category/{at}{one}", token=token)[1])
        assert found["id"] == one and one.startswith("urn:vmomi:InventoryServiceCategory:")
        names[found["name"]] = one
    assert set(names) == {"backup", "site"}
    target = f"{shape[1]}/tag?action=list-tags-for-category"
    body = {"category_id": names["site"]}
    if shape is REST:
        target, body = f"{shape[1]}/tag/id:{names['site']}?~action=list-tags-for-category", {}
    ids = value(shape, ask(client, "POST", target, body, token=token)[1])
    tags = [value(shape, ask(client, "GET", f"{shape[1]}/tag/{at}{one}", token=token)[1]) for one in ids]
    assert sorted(one["name"] for one in tags) == ["x", "y"]
    assert {one["category_id"] for one in tags} == {names["site"]}


@pytest.mark.behaviour(51, "reported")
@both
def test_a_batch_says_what_has_each_tag_and_leaves_out_what_it_does_not_know(client, shape):
    token = login(client, shape)
    gold = client.sim.tagging.make("backup/gold").id
    target = f"{shape[1]}/tag-association?{shape[2]}=list-attached-objects-on-tags"
    status, answer = ask(client, "POST", target, {"tag_ids": [gold, "urn:nobody"]}, token=token)
    (entry,) = value(shape, answer)
    assert (status, entry["tag_id"], {one["type"] for one in entry["object_ids"]}) == (200, gold, {"VirtualMachine"})
    assert len(entry["object_ids"]) == 2


@pytest.mark.behaviour(51, "reported")
@both
def test_errors_have_the_shape_of_their_interface(client, shape):
    token = login(client, shape)
    at = "" if shape is API else "id:"
    status, answer = ask(client, "GET", f"{shape[1]}/tag/{at}urn:nobody", token=token)
    assert status == 404
    if shape is API:
        assert (answer["error_type"], list(answer["messages"][0])) == ("NOT_FOUND", ["id", "default_message", "args"])
    else:
        assert answer["type"] == "com.vmware.vapi.std.errors.not_found"
        assert answer["value"]["messages"][0]["default_message"]


@pytest.mark.behaviour(51, "reported")
@both
def test_a_wrong_password_is_401(client, shape):
    assert wrong_password(client, shape[0])[0] == 401


@pytest.mark.behaviour(51, "reported")
def test_a_user_has_550_sessions_of_both_interfaces(client):
    for number in range(550):
        client.sim.rest.tokens[str(number)] = USER
    status, answer = ask(client, "POST", API[0])
    assert status == 503
    assert answer["messages"][0]["default_message"] == (
        f"User session count is limited to 550. Existing session count is 550 for user {USER}"
    )
    client.sim.rest.tokens.popitem()
    assert login(client, REST)


@pytest.mark.behaviour(51, "assumed")
@pytest.mark.parametrize("status", [429, 503])
def test_a_request_may_be_put_off(client, status):
    client.sim.fault("rest-busy", status=status)
    assert ask(client, "POST", API[0])[0] == status
    assert login(client, API)


@pytest.mark.parametrize(
    ("which", "there"),
    [
        pytest.param("both", (True, True, True), id="both"),
        pytest.param("api", (True, True, False), id="api"),
        pytest.param("rest", (False, False, True), id="rest"),
        pytest.param("session-only", (True, False, True), id="session-only"),
        pytest.param("none", (False, False, False), id="none"),
    ],
)
def test_a_switch_leaves_one_of_them_out(tmp_path, which, there):
    with running(estate(machine(), rest=which), tmp_path) as client:
        api = ask(client, "POST", API[0])
        tagging = ask(client, "GET", f"{API[1]}/category", token=api[1])[0] == 200 if api[0] == 201 else False
        rest = ask(client, "POST", REST[0])[0]
        assert (api[0] == 201, tagging, rest == 200) == there


@pytest.mark.behaviour(59, "documented")
def test_only_objects_that_the_user_may_read_are_told_of(simulate):
    client = simulate(machine("a", tags=["backup/gold"], unreadable=["summary"]), machine("b", tags=["backup/gold"]))
    token = login(client, API)
    gold = client.sim.tagging.make("backup/gold").id
    target = f"{API[1]}/tag-association/{gold}?action=list-attached-objects"
    found = ask(client, "POST", target, {}, token=token)[1]
    assert [one["id"] for one in found] == [client.vm("DC1/vm/b")._moId]
