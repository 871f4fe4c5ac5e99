package config

// Kinds are the kinds of sources in the order of their documentation. It is the only list: a new kind is a line here, its
// options in source_KIND.go, and a case in newSource of package main.
var Kinds = []Kind{
	{"static", defaultStatic},
	{"dns", defaultDNS},
	{"file", defaultFile},
	{"http", defaultHTTP},
	{"exec", defaultExec},
	{"kubernetes", defaultKubernetes},
	{"gossip", defaultGossip},
	{"announce", defaultAnnounce},
}

// Kind is one kind of source.
type Kind struct {
	Name     string
	Defaults func() Options // its keys at their defaults
}

// Source is one way to find addresses: a kind, what all kinds share, and the kind's own keys beside them.
type Source struct {
	// Which strategy.
	Kind string `yaml:"kind"`
	// What logs and metrics call it. Empty means the kind; two sources of one kind need names.
	Name string `yaml:"name" eg:"seeds"`
	// When an address that the source no longer lists is forgotten. two-signal: when the overlay does not see it either;
	// source: once the grace is over; never: not at all.
	Removal string `yaml:"removal" oneof:"two-signal,source,never"`

	// Options are the keys of this kind, e.g. *Static.
	Options Options `yaml:"-"`
}

// Options are the keys of one kind of source. Each type has the fields of its strategy's Config, in that order: the
// conversion beside it does not compile when one is forgotten.
type Options interface{ Validate() error }

// newSource is a source of a kind at its defaults.
func newSource(k Kind) Source {
	return Source{Kind: k.Name, Removal: "two-signal", Options: k.Defaults()}
}

// kind finds a kind by its name.
func kind(name string) (Kind, bool) {
	for _, k := range Kinds {
		if k.Name == name {
			return k, true
		}
	}
	return Kind{}, false
}

func kindNames() []string {
	names := make([]string, 0, len(Kinds))
	for _, k := range Kinds {
		names = append(names, k.Name)
	}
	return names
}
