"""Items of bulk commands from CSV."""

from pathlib import Path
from typing import Any

import pytest

from oncelog.client.csv_items import csv_items
from oncelog.domain.bulk.command import BulkType
from oncelog.domain.events import DefinitionReference
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.domain.ontology.definition import ClassDefinition
from oncelog.errors import InputInvalid

CREATE, UPDATE = BulkType.BULK_CREATE_INSTANCES, BulkType.BULK_UPDATE_INSTANCES
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 5},
        "price": {"type": "number"},
        "count": {"type": ["integer", "null"]},
        "sale": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "code": {"type": ["integer", "string"]},
        "maker": {"type": "object", "properties": {"city": {"type": "string"}, "since": {"type": "integer"}}},
    },
}


def class_schema() -> ClassSchema:
    definition = ClassDefinition.model_validate({"version": "1.0.0", "schema": SCHEMA, "relationships": {}})
    return ClassSchema(DefinitionReference(sequence_number=1, version="1.0.0"), definition, ((1, ()),))


def read(folder: Path, text: str, *, command_type: BulkType = CREATE, **options: Any) -> list[dict[str, Any]]:
    path = folder / "items.csv"
    path.write_bytes(text.encode())
    return list(csv_items(path, command_type, **({"class_schema": class_schema()} | options)))


def test_cells_have_the_types_of_the_definition(tmp_path: Path):
    text = (
        "\ufeffinstance_id,expected_version,name,price,count,sale,tags,code,/maker/city,/maker/since\r\n"
        'p1,0,007,7.50,3,true,"[""a"",""b""]",A1,"Wien, Wieden",1900\r\n'
        'p2,,"a\nb",1e3,null,,,12,,\r\n'
    )
    assert read(tmp_path, text) == [
        {
            "instance_id": "p1",
            "expected_version": 0,
            "payload": {
                "name": "007",
                "price": 7.5,
                "count": 3,
                "sale": True,
                "tags": ["a", "b"],
                "code": "A1",
                "maker": {"city": "Wien, Wieden", "since": 1900},
            },
        },
        {"instance_id": "p2", "payload": {"name": "a\nb", "price": 1000.0, "count": None, "code": 12}},
    ]


def test_cells_of_an_undefined_class_are_texts(tmp_path: Path):
    found = read(tmp_path, "instance_id,price,sale\np1,10,true\n", class_schema=None)
    assert found == [{"instance_id": "p1", "payload": {"price": "10", "sale": "true"}}]


def test_every_bad_line_is_named_with_its_problem(tmp_path: Path):
    text = 'instance_id,price,name\np1,cheap,"a\nb"\n\np2,1\np3,2,ok\n,3,toolong\n'
    with pytest.raises(InputInvalid) as refused:
        read(tmp_path, text, judged=True)
    found = [(each["line"], each["problem"]) for each in refused.value.details["lines"]]
    assert found == [
        (3, "price: expected number, found 'cheap'"),
        (5, "expected 3 cells as in the header, found 2"),
        (7, 'does not fit version 1.0.0: /name: "toolong" is longer than 5 characters'),
    ]
    assert "line 3: price: expected number" in refused.value.message


def test_fit_is_judged_only_if_asked(tmp_path: Path):
    assert len(read(tmp_path, "instance_id,name\np1,toolong\n")) == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected a header"),
        ("name,name\na,b\n", "names that differ"),
        ("name,\na,b\n", "names that differ"),
        ("/a~2b\nx\n", "expected ~0 or ~1"),
        ('name\n"a"b\n', "expected CSV in UTF-8"),
        ('name\n"a', "expected CSV in UTF-8"),
        ("/a,/a/b\n1,2\n", "which another column fills"),
        ("instance_id,expected_version\np1,x\n", "expected_version: expected integer"),
    ],
)
def test_malformed_csv_is_refused(tmp_path: Path, text: str, problem: str):
    with pytest.raises(InputInvalid, match=problem):
        read(tmp_path, text, class_schema=None)


def test_update_needs_its_instance(tmp_path: Path):
    with pytest.raises(InputInvalid, match="line 2: instance_id: expected one for UPDATE_INSTANCE"):
        read(tmp_path, "instance_id,name\n,Lamp\n", command_type=UPDATE)
