"""DynamoDB: the operations that the product uses answer as AWS's models say."""

import pytest
from botocore.exceptions import ClientError

from aws_calls import fresh
from contract.conftest import Checked


def test_items_and_conditions(aws: Checked) -> None:
    """Put, get, query, scan, update and transact; a condition that fails is refused by name, a missing table too."""
    client, name = aws("dynamodb"), fresh("contract")
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": each, "AttributeType": "S"} for each in ("id", "status")],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by_status",
                "KeySchema": [{"AttributeName": "status", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
    assert client.describe_table(TableName=name)["Table"]["TableStatus"] == "ACTIVE"
    item = {"id": {"S": "a"}, "status": {"S": "open"}, "x": {"N": "1.5"}, "more": {"L": [{"N": "1"}, {"NULL": True}]}}
    assert client.batch_write_item(RequestItems={name: [{"PutRequest": {"Item": item}}]})["UnprocessedItems"] == {}
    client.put_item(TableName=name, Item=item)
    assert client.get_item(TableName=name, Key={"id": {"S": "a"}}, ConsistentRead=True)["Item"] == item
    assert "Item" not in client.get_item(TableName=name, Key={"id": {"S": "b"}})
    take = {
        "TableName": name,
        "Key": {"id": {"S": "a"}},
        "UpdateExpression": "SET #status = :new",
        "ConditionExpression": "#status = :old",
        "ExpressionAttributeNames": {"#status": "status"},
        "ExpressionAttributeValues": {":new": {"S": "taken"}, ":old": {"S": "open"}},
    }
    client.update_item(**take)
    with pytest.raises(ClientError, match="ConditionalCheckFailedException"):
        client.update_item(**take)
    with pytest.raises(ClientError, match="TransactionCanceledException") as refused:
        client.transact_write_items(TransactItems=[{"Update": take}])
    reasons = refused.value.response["CancellationReasons"]
    assert [reason["Code"] for reason in reasons] == ["ConditionalCheckFailed"]
    client.transact_write_items(TransactItems=[{"Update": {**take, "ConditionExpression": "#status <> :old"}}])
    found = client.query(
        TableName=name,
        IndexName="by_status",
        KeyConditionExpression="#key = :key",
        ExpressionAttributeNames={"#key": "status"},
        ExpressionAttributeValues={":key": {"S": "taken"}},
    )
    assert aws.live or found["Count"] == 1  # AWS's index follows a moment later
    assert client.scan(TableName=name, ConsistentRead=True)["Count"] == 1
    client.delete_table(TableName=name)
    client.get_waiter("table_not_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        client.get_item(TableName=name, Key={"id": {"S": "a"}})
