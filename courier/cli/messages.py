"""The table of what this site does with each kind of message; the channel is given it by every command that syncs."""

from __future__ import annotations

from courier.channel.handlers import Handler, Handlers, HandlersWhenAsked, handlers_by_type


def _table() -> Handlers:
    from courier.channel.acknowledgements import take_acknowledgement
    from courier.channel.custody_exchange import take_custody_batch
    from courier.channel.reports import take_report
    from courier.packages.definitions import take_definition
    from courier.packages.retirement import take_retirement
    from courier.receiving.key_release import take_key_release
    from courier.receiving.network_documents import take_table_part
    from courier.receiving.refuse import take_recall, take_supersession
    from courier.receiving.repair import take_repair_part
    from courier.receiving.ship_notice import take_ship_notice
    from courier.sending.confirmation import take_receipt
    from courier.sending.release import take_arrival
    from courier.sending.repair_answer import take_repair_request
    from courier.site.peers import take_card, verify_card
    from formats.documents import (
        acknowledgement,
        arrival,
        card,
        custody,
        notice,
        package,
        recall,
        receipt,
        release,
        repair,
        report,
        retirement,
        supersession,
        table,
    )

    return handlers_by_type(
        Handler(kind=acknowledgement.KIND, act=take_acknowledgement, catalogued=True),
        Handler(kind=arrival.KIND, act=take_arrival, keeps=True),
        Handler(kind=card.KIND, act=take_card, verify=verify_card),
        Handler(kind=custody.BATCH_KIND, act=take_custody_batch, keeps=True, catalogued=True),
        Handler(kind=notice.KIND, act=take_ship_notice, keeps=True),
        Handler(kind=package.KIND, act=take_definition, keeps=True, catalogued=True),
        Handler(kind=recall.KIND, act=take_recall, keeps=True),
        Handler(kind=receipt.KIND, act=take_receipt),
        Handler(kind=release.KIND, act=take_key_release, keeps=True),
        Handler(kind=repair.PART_KIND, act=take_repair_part),
        Handler(kind=repair.REQUEST_KIND, act=take_repair_request),
        Handler(kind=report.KIND, act=take_report, catalogued=True),
        Handler(kind=retirement.KIND, act=take_retirement, keeps=True),
        Handler(kind=table.KIND, act=take_table_part),
        Handler(kind=supersession.KIND, act=take_supersession, keeps=True),
    )


MESSAGE_HANDLERS: Handlers = HandlersWhenAsked(_table)
