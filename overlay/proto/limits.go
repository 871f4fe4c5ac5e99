package proto

import "time"

// Bounds that both ends of a link hold each other to. A frame beyond one is
// refused by wire; a machine that would make one splits or trims first.
const (
	MaxFrame     = 8 << 20 // bytes in one message, after which a sender must split
	MaxPayload   = 4 << 20 // bytes of an application's payload, default of the configurable limit
	MaxName      = 255     // bytes in a node name, method, topic, tag key, zone, address
	MaxValue     = 1024    // bytes in a tag value, a reason
	MaxAddrs     = 8       // addresses in an entry
	MaxTags      = 64
	MaxHandlers  = 1024
	MaxGroups    = 64
	MaxPeers     = 32   // peers in one view message
	MaxRanges    = 1024 // ranges in one IHave or Graft
	MaxRecords   = 512  // records in one directory body
	MaxOpinions  = 16   // opinions in one record
	MaxResults   = 4096 // results, receipts, testimony in one Echo
	MaxExcluded  = 64   // IDs excluded by a Call
	MaxSelectIDs = 4096 // IDs in a selector
	MaxMeta      = 32
	Buckets      = 256 // of the directory's anti-entropy
	Streams      = 16  // of broadcasts; 0 is the directory's
	DirStream    = 0

	MaxBudget = 24 * time.Hour // of a call
)
