package core

// check asserts, after every step, what must always hold. It costs
// nanoseconds, so production runs it too: a node that has lost its mind must
// end rather than speak.
func (c *Core) check() {
	if c.running < 0 {
		panic("core: more local results than dispatches")
	}
	if c.called[partViews] {
		c.views.Check()
	}
	if c.called[partTree] {
		c.tree.Check()
	}
	if (c.called[partViews] || c.called[partTree]) && c.views.Degree() != c.tree.Degree() {
		panic("core: P1: broadcasts do not go over exactly the links of the active view")
	}
}
