"""Triggers that keep evidence as it is, on either database: no change, no removal, and only the next entry in. A released one never changes.

They hold for whoever owns the tables, too, as long as the triggers are there; what somebody does who takes them away, signatures and anchors show.
"""

from alembic import op

from nestaudience.ledger.spelling import POSTGRES


def append_only(table: str, refused: str) -> None:
    """Refuse UPDATE, DELETE, on PostgreSQL TRUNCATE, and an INSERT of a row `NEW` for which this condition holds.

    On SQLite `INSERT OR REPLACE` deletes without calling a delete trigger, so the condition must hold for what is already there.
    """
    if op.get_context().dialect.name == POSTGRES:
        _on_postgres(table, refused)
        return
    for action, condition in (("update", ""), ("delete", ""), ("insert", f"WHEN {refused}")):
        op.execute(
            f"CREATE TRIGGER {table}_no_{action} BEFORE {action.upper()} ON {table} {condition} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )


def _on_postgres(table: str, condition: str) -> None:
    for function, test in (("refused", "TRUE"), ("no_insert", condition)):
        op.execute(
            f"CREATE FUNCTION {table}_{function}() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$ BEGIN "
            f"IF {test} THEN RAISE EXCEPTION '{table} is append-only' USING ERRCODE = 'integrity_constraint_violation'; END IF; "
            "RETURN NEW; END $$"
        )
    for trigger, events, each, function in (
        ("no_change", "UPDATE OR DELETE", "ROW", "refused"),
        ("no_truncate", "TRUNCATE", "STATEMENT", "refused"),
        ("no_insert", "INSERT", "ROW", "no_insert"),
    ):
        op.execute(
            f"CREATE TRIGGER {table}_{trigger} BEFORE {events} ON {table} FOR EACH {each} EXECUTE FUNCTION {table}_{function}()"
        )
