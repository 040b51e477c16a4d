"""What every Store promises about the order of records. SQLite is the one implementation yet."""

from hypothesis import given, settings
from hypothesis import strategies as st

from lamplighter.store.contract import RecordTransaction
from lamplighter.store.database import Database
from lamplighter.store.records import SqliteRecords
from support.control import ACCOUNT, REGION, run

KEYS = st.one_of(st.integers(0, 10**17).map(str), st.text("abc-", max_size=3))


@settings(max_examples=25, deadline=None)
@given(keys=st.sets(KEYS, max_size=12), others=st.sets(KEYS, max_size=3), size=st.integers(1, 5))
def test_records_come_in_one_order_and_backwards_in_the_opposite_one(tmp_path_factory, keys, others, size):
    async def main() -> None:
        database = Database(tmp_path_factory.mktemp("store") / "test.db")
        try:
            records = SqliteRecords(database)

            def put(transaction: RecordTransaction) -> None:
                for owner, of_owner in (("a", others), ("b", keys), ("c", others)):
                    for key in of_owner:
                        transaction.put("kind", owner, key, {"key": key}, of_function=False)
                        transaction.put("another", owner, key, {}, of_function=False)

            await records.transact(ACCOUNT, REGION, put)
            view = records.view(ACCOUNT, REGION)
            forwards = [record.key for record in view.page("kind", "b")]
            assert set(forwards) == keys
            numbers = [int(key) for key in forwards if key.isdecimal()]
            assert numbers == sorted(numbers)

            backwards: list[str] = []
            while page := view.page_backwards("kind", "b", backwards[-1] if backwards else None, size):
                assert all(record.owner == "b" and record.document == {"key": record.key} for record in page)
                backwards += [record.key for record in page]
            assert backwards == forwards[::-1]
        finally:
            await database.close()

    run(main)
