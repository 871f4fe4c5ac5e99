package mutations

// calls are mutations of the wave.
var calls = []mutation{
	{
		"M1", "a call ends before its last verdict", "overlay/wave/settle.go",
		`if q.open--; q.open == 0 {`,
		`if q.open--; q.open <= 1 {`,
		swarm(1), "",
	},
	{
		"M1", "a CALL that crosses ours is answered, too", "overlay/wave/part.go",
		"s.state = spokeResolved\n\tw.progress(now, c, out)\n}\n\n// takePart",
		"s.state = spokeResolved\n\tw.seen(on, m, out)\n\tw.progress(now, c, out)\n}\n\n// takePart",
		test("overlay/explore", "TestACallGivesEverybodyOneTrueVerdictWhateverBreaks"), "M1:",
	},
	{
		"M2", "a call ends five seconds late", "overlay/wave/question.go",
		`q.endAt = q.deadline.Add(w.cfg.Flush)`,
		`q.endAt = q.deadline.Add(5 * time.Second)`,
		swarm(1), "",
	},
	{
		"M3", "who gave no word is said not to have run", "overlay/wave/end.go",
		"return proto.ExecutedMaybe\n\t}\n\treturn proto.ExecutedNo",
		"return proto.ExecutedNo\n\t}\n\treturn proto.ExecutedNo",
		swarm(1), "",
	},
	{
		"M3", "an ask of which bytes may have left counts as not sent", "overlay/wave/direct.go",
		"if !handed {\n\t\tt.handed--",
		"{\n\t\tt.handed--",
		property("overlay/wave", "TestEveryVerdictIsOneThatTheTableAllows"), "M3:",
	},
	{
		"M4", "the window forgets to mark what it has seen", "overlay/wave/call.go",
		"win.Mark(msg.ID.Seq)\n\twin.calls++",
		"win.calls++",
		swarm(15), "",
	},
	{
		"M4", "a caller's new window takes what its last one saw for new", "overlay/wave/window.go",
		`if id.Caller != w.self && !win.forgot.Before(now.Add(-elapsed)) {`,
		`if false {`,
		test("overlay/wave", "TestAWindowThatCameBackRunsNothingFromBefore"), "",
	},
	{
		"M5", "a large reply that travels apart is not told as such", "overlay/wave/call.go",
		"r.Size = uint32(len(r.Payload))\n\tc.exec",
		"c.exec",
		swarm(4), "",
	},
	{
		"M6", "a frame that was held up counts as fresh", "overlay/wave/clock.go",
		`return max(0, w.clock(now)-(stamp+t.offset)+t.doubtNow(now)/2)`,
		`return 0`,
		swarm(1), "",
	},
	{
		"M7", "nobody tells what it knows before it knows all", "overlay/wave/echo.go",
		"w.report(c, false, out)\n",
		"",
		test("overlay/sim", "TestAMulticallWithAStoppedNodeGetsTheOthersAtOnceAndThatOneByItsBudget"), "",
	},
	{
		"M8", "one call more than the bound is open", "overlay/wave/question.go",
		`if len(w.byRef) >= w.cfg.OpenMax {`,
		`if len(w.byRef) > w.cfg.OpenMax {`,
		swarm(3), "",
	},
	{
		"M9", "what an application was handed gets no word when it goes", "rpc/app.go",
		"for _, t := range tasks {\n\t\tdelete(s.tasks, t.call)\n",
		"for _, t := range tasks {\n\t\tdelete(s.tasks, t.call)\n\t\tcontinue\n",
		property("rpc", "TestApplicationsGetEachRequestOnceInOrderAndLeaveNothing"), "",
	},
	{
		"M10", "an application gets the latest request first", "rpc/dispatch.go",
		"t := a.waiting[0]\n\ta.waiting[0] = nil\n\tif a.waiting = a.waiting[1:]; len(a.waiting) == 0 {",
		"t := a.waiting[len(a.waiting)-1]\n\tif a.waiting = a.waiting[:len(a.waiting)-1]; len(a.waiting) == 0 {",
		property("rpc", "TestApplicationsGetEachRequestOnceInOrderAndLeaveNothing"), "M10:",
	},
	{
		"S1", "a frame that makes no sense ends everybody's session", "rpc/local/session.go",
		"if err := s.frame(f); err != nil {\n",
		"if err := s.frame(f); err != nil {\n\t\t\t\ts.api.svc.Close()\n",
		property("rpc/local", "TestWhateverApplicationsDoEachIsToldTheTruthAndHarmsNobodyElse"), "S1, S3: a ping of somebody else",
	},
	{
		"S2", "an application's queue has no bound", "rpc/dispatch.go",
		`if a.held+t.size > s.cfg.QueueBytes && a.held > 0 || len(a.tasks) >= tasksMax {`,
		`if false {`,
		property("rpc/local", "TestWhateverApplicationsDoEachIsToldTheTruthAndHarmsNobodyElse"), "S2:",
	},
	{
		"S3", "the loop waits until an application looks", "rpc/calls.go",
		"case b.ready <- struct{}{}:\n\tdefault:\n\t}",
		"case b.ready <- struct{}{}:\n\t}",
		property("rpc/local", "TestWhateverApplicationsDoEachIsToldTheTruthAndHarmsNobodyElse"), "panic: test timed out",
	},
	{
		"S4", "a reply is taken from whoever sends it", "rpc/app.go",
		"t := a.tasks[id]\n\tif t == nil || !t.taken {",
		"t := a.tasks[id]\n\tfor _, other := range s.apps {\n\t\tif t == nil {\n\t\t\tt = other.tasks[id]\n\t\t}\n\t}\n\tif t == nil || !t.taken {",
		property("rpc", "TestApplicationsGetEachRequestOnceInOrderAndLeaveNothing"), "S4:",
	},
}
