package directory

import (
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// Anti-entropy: digests ride in pings and pongs. On difference the node with
// the lower ID sends the hashes of its buckets, the other answers with its
// records in those that differ, and gets back what it did not have. No step
// keeps state: a lost link costs one exchange.

// compare starts an exchange if a neighbour's digest is not ours.
func (d *Directory) compare(now time.Time, id proto.LinkID, digest uint64, out *proto.Out) {
	l := d.link(id)
	if l == nil {
		return
	}
	l.digest = digest
	switch {
	case digest == d.digest:
		d.met(now, out)
	case d.self.ID().Less(l.peer) && !now.Before(l.syncAt) && !d.leaving:
		l.syncAt = now.Add(d.cfg.SyncEvery)
		hashes := d.buckets
		out.Add(proto.Send{Link: id, Msg: proto.SyncHashes{Buckets: hashes[:]}})
	}
}

// syncHashes answers with all records of the buckets that differ.
func (d *Directory) syncHashes(id proto.LinkID, from peer.ID, m proto.SyncHashes, out *proto.Out) {
	if len(m.Buckets) != proto.Buckets {
		d.ignore("sync_hashes_length", from, out)
		return
	}
	var differ [proto.Buckets]bool
	for i, theirs := range m.Buckets {
		differ[i] = theirs != d.buckets[i]
	}
	d.sendBuckets(id, &differ, nil, true, false, out)
}

// sendBuckets sends the records of some buckets, without those that the other
// side has as they are, in messages below the limits. Each message names the
// buckets that end in it, so that it can be answered by itself. The last always
// goes out, even empty: somebody may wait for it.
func (d *Directory) sendBuckets(id proto.LinkID, in *[proto.Buckets]bool, have map[peer.ID]*proto.Record, reply, more bool, out *proto.Out) {
	var byBucket [proto.Buckets][]proto.Record
	for r := range d.records.Of(in) {
		if d.newborn && r == d.self {
			continue
		}
		if rec, ok := have[r.ID()]; !ok || !r.is(rec) {
			byBucket[r.bucket] = append(byBucket[r.bucket], r.export())
		}
	}
	var msg proto.SyncRecords
	size := 0
	for b, records := range byBucket {
		if !in[b] {
			continue
		}
		for i := range records {
			n := sizeOf(&records[i])
			if len(msg.Records) > 0 && (size+n > d.cfg.ChunkBytes || len(msg.Records) >= proto.MaxRecords) {
				msg.Reply, msg.More = reply, true
				out.Add(proto.Send{Link: id, Msg: msg})
				msg, size = proto.SyncRecords{}, 0
			}
			msg.Records = append(msg.Records, records[i])
			size += n
		}
		msg.Buckets = append(msg.Buckets, uint8(b))
	}
	msg.Reply, msg.More = reply, more
	out.Add(proto.Send{Link: id, Msg: msg})
}

// syncRecords merges whole buckets and answers with what they lack. A record
// that a tombstone refuses is answered with the tombstone.
func (d *Directory) syncRecords(now time.Time, id proto.LinkID, from peer.ID, m proto.SyncRecords, out *proto.Out) {
	have := make(map[peer.ID]*proto.Record, len(m.Records))
	var tombs []proto.Record
	news := false
	for i := range m.Records {
		rec := &m.Records[i]
		changed, refused := d.apply(now, rec, from, out)
		if d.over {
			return
		}
		news = news || changed
		if refused != nil {
			tombs = append(tombs, proto.Record{Tomb: refused})
		} else if rec.Entry != nil {
			have[rec.Entry.ID] = rec
		}
	}
	d.send(id, tombs, out)
	if m.Reply {
		var in [proto.Buckets]bool
		for _, b := range m.Buckets {
			in[b] = true
		}
		d.sendBuckets(id, &in, have, false, m.More, out)
	}
	if !m.More && d.link(id) != nil {
		d.met(now, out)
	}
	if news {
		d.spread(now, id)
	}
}

// spread lets the other neighbours compare at once with what one of them
// brought: healing travels a hop in milliseconds, not in a ping's period.
func (d *Directory) spread(now time.Time, except proto.LinkID) {
	for i := range d.links {
		l := &d.links[i]
		if soon := l.pinged.Add(d.cfg.PingEvery / 10); l.id != except && l.digest != d.digest && soon.Before(l.pingAt) {
			l.pingAt = soon
			if soon.Before(now) {
				l.pingAt = now
			}
			l.syncAt = proto.Sooner(l.syncAt, now)
		}
	}
}

// sendTombs gives a newcomer all tombstones: it must not bring back the dead,
// nor be born below them.
func (d *Directory) sendTombs(id proto.LinkID, out *proto.Out) {
	var all []proto.Record
	for _, t := range d.tombs.All() {
		all = append(all, proto.Record{Tomb: t.stone()})
	}
	d.send(id, all, out)
}

// send sends records as they are, apart from any exchange.
func (d *Directory) send(id proto.LinkID, records []proto.Record, out *proto.Out) {
	for _, chunk := range d.chunks(records) {
		out.Add(proto.Send{Link: id, Msg: proto.SyncRecords{Records: chunk, More: true}})
	}
}
