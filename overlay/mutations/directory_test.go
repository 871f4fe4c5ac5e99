package mutations

// directory are mutations of who is a member.
var directory = []mutation{
	{
		"D1", "an older entry takes the place of a newer", "overlay/directory/record.go",
		"return a.Newer(b)\n\t}\n\treturn !a.Equal(b)",
		"return b.Newer(a)\n\t}\n\treturn !a.Equal(b)",
		swarm(3), "",
	},
	{
		"D2", "who certifies a death writes it into the dead one's entry", "overlay/directory/suspect.go",
		"m.down, m.opinions = r.entry.Incarnation, nil\n",
		"m.down, m.opinions = r.entry.Incarnation, nil\n\te := *r.entry\n\te.Left = true\n\tr.setEntry(&e)\n",
		swarm(1), "",
	},
	{
		"D3", "a superseded process goes on", "overlay/directory/name.go",
		`if !ok || r.superseded {`,
		`if !ok || r.superseded || r == d.self {`,
		test("overlay/directory", "TestASupersededProcessLeavesAndEnds"), "",
	},
	{
		"D4", "who hears itself accused is silent", "overlay/directory/self.go",
		"e.Version++\n\td.unwell()\n\td.say(now, &e)",
		"d.unwell()",
		swarm(3), "",
	},
	{
		"D5", "a probe that finds another node there counts as answered", "overlay/directory/probe.go",
		"case proto.DialRefused, proto.DialOtherNode, proto.DialSelf:",
		"case proto.DialOtherNode:\n\t\td.probeAnswered(now, p, now, out)\n\tcase proto.DialRefused, proto.DialSelf:",
		test("overlay/directory", "TestHardEvidenceIsConfirmedASecondAfterTheReset"), "",
	},
	{
		"D6", "a node that is certified down believes it", "overlay/directory/self.go",
		`return d.comeBack(now, rec.Down, out)`,
		"d.self.own().down, d.self.status = rec.Down, proto.StatusDown\n\t\treturn true",
		swarm(8), "(D6)",
	},
	{
		"D7", "neighbours do not compare directories", "overlay/directory/sync.go",
		`case d.self.ID().Less(l.peer) && !now.Before(l.syncAt) && !d.leaving:`,
		`case false:`,
		swarm(1), "",
	},
	{
		"D7", "a pong from before a link broke leaves the doubt, which waits for nothing", "overlay/directory/inquiry.go",
		"{ // it lived before the link broke\n\t\td.lookAgain(now, q)\n",
		"{ // it lived before the link broke\n",
		swarm(4), "an inquiry waits for nothing",
	},
	{
		"D7", "who comes back keeps its incarnation", "overlay/directory/self.go",
		"e.Incarnation, e.Version = dead+1, 1",
		"e.Incarnation, e.Version = dead, e.Version+1",
		test("overlay/explore", "TestBothSidesOfACutAgreeAfterIt"), "D7:",
	},
	{
		"D8", "a full directory takes one more", "overlay/directory/apply.go",
		`if d.records.Len() >= d.cfg.EntriesMax && !d.makeRoom(now) {`,
		`if d.records.Len() > d.cfg.EntriesMax && !d.makeRoom(now) {`,
		test("overlay/sim", "TestAHostilePeerIsIgnoredAndHarmsNobody"), "directory_full: a hostile peer was not ignored for it",
	},
	{
		"D9", "an opinion heard again is news", "overlay/directory/record.go",
		`if o.Counter < have.Counter || *have == o {`,
		`if o.Counter < have.Counter {`,
		property("overlay/directory", "TestJoiningRecordsIsCommutativeAssociativeAndIdempotent"), "",
	},
	{
		"D10", "a source that fails withdraws what it vouched for", "discovery/ledger.go",
		"b.doubt = doubt{}\n\tb.health.LastError",
		"for _, r := range l.records {\n\t\tl.withdraw(now, r.word(src))\n\t}\n\tb.doubt = doubt{}\n\tb.health.LastError",
		test("discovery", "TestAFailureWithdrawsNobody"), "",
	},
	{
		"D11", "a watcher is not told that a member died and came back", "rpc/members.go",
		`m == nil || !living(m) || m.Entry.Incarnation != old.Entry.Incarnation {`,
		`m == nil || !living(m) {`,
		property("rpc", "TestEachWatcherSeesEachNameUpOnceAndThenDownOnce"), "D11:",
	},
	{
		"M11", "the next incarnation comes up before the last went down", "overlay/directory/roster.go",
		`same := was != nil && (r == d.self || was.Incarnation == r.entry.Incarnation)`,
		`same := was != nil`,
		swarm(8), "",
	},
}
