package main

import (
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/starlingmesh/starling/cmd/starling/config"
	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/overlay"
	"github.com/starlingmesh/starling/overlay/core"
	"github.com/starlingmesh/starling/overlay/keys"
	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/rpc"
	"github.com/starlingmesh/starling/rpc/local"
)

// Each function below says one layer's configuration in that layer's words.

func overlayConfig(c config.Config, log *slog.Logger) (overlay.Config, error) {
	o := overlay.Default()
	name, err := c.NodeName()
	if err != nil {
		return o, err
	}
	o.Cluster, o.Name, o.Listen, o.Zone, o.Tags = c.Cluster, name, c.Listen, c.Zone, tags(c.Tags)
	o.Insecure, o.Faults = c.Security.Insecure, c.Faults.Allowed
	if c.Advertise != "" {
		o.Advertise = []string{c.Advertise}
	}
	if o.Keys, err = membership(c, log); err != nil {
		return o, fmt.Errorf("security: %w", err)
	}
	o.Core = coreConfig(c)
	o.Limits.Handshake, o.Limits.Handshakes = c.Limits.Handshake, c.Limits.Handshakes
	o.Limits.Dials, o.Limits.Links, o.Limits.Link.WriteStall = c.Limits.Dials, c.Limits.Links, c.Limits.WriteStall
	return o, nil
}

func coreConfig(c config.Config) core.Config {
	o := core.Default()
	views := &o.Views
	views.Active, views.Floor, views.Passive = c.Overlay.Active, c.Overlay.Floor, c.Overlay.Passive
	views.ARWL, views.PRWL = uint8(c.Overlay.ARWL), uint8(c.Overlay.PRWL)
	views.ShuffleActive, views.ShufflePassive, views.ShuffleEvery = c.Overlay.ShuffleActive, c.Overlay.ShufflePassive, c.Overlay.ShuffleEvery
	views.RefillEvery, views.Requests, views.RequestTimeout = c.Overlay.RefillEvery, c.Overlay.Requests, c.Overlay.RequestTimeout
	views.DialTimeout, views.Drain = c.Overlay.DialTimeout, c.Overlay.Drain
	o.Drain = c.Overlay.Leave
	views.CoolDown, views.CoolDownMax = c.Overlay.CoolDown, c.Overlay.CoolDownMax

	dir := &o.Directory
	dir.PerNode = c.Security.Identity == "per_node"
	dir.PingEvery, dir.MissedMax = c.Detection.PingEvery, c.Detection.MissedMax
	dir.ProbeTimeout, dir.ProbeEvery, dir.ConfirmAfter = c.Detection.ProbeTimeout, c.Detection.ProbeEvery, c.Detection.ConfirmAfter
	dir.Committee, dir.DenyFor = c.Detection.Committee, c.Detection.DenyFor
	dir.SuspectMax, dir.SuspectMin = c.Detection.SuspectMax, c.Detection.SuspectMin
	return o
}

// membership is what proves that somebody belongs to the cluster; nil if nothing does.
func membership(c config.Config, log *slog.Logger) (keys.Source, error) {
	s := c.Security
	switch {
	case s.Insecure:
		return nil, nil
	case s.CertificateFile != "":
		return keys.FromFiles(keys.Files{
			Cert: s.CertificateFile, Key: s.KeyFile, CA: s.AuthorityFile, Identity: keys.Identity(s.Identity),
		}, log)
	}
	list, err := clusterKeys(s)
	if err != nil {
		return nil, err
	}
	return keys.FromKeys(c.Cluster, list...)
}

func tags(m map[string]string) []proto.Tag {
	list := make([]proto.Tag, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, proto.Tag{Key: k, Value: m[k]})
	}
	return list
}

func discoveryConfig(c config.Discovery, mesh *overlay.Overlay) discovery.Config {
	self := mesh.Self()
	return discovery.Config{
		Grace: c.Grace, Debounce: c.Debounce, StartJitter: c.StartJitter,
		CandidatesMax: c.CandidatesMax, ContactsMax: c.ContactsMax, CacheFile: c.CacheFile,
		Self: self.ID.String(), SelfAddrs: self.Addrs,
		Contacts: func(found []discovery.Contact) {
			contacts := make([]proto.Contact, 0, len(found))
			for _, f := range found {
				contacts = append(contacts, proto.Contact{Addrs: f.Addrs})
			}
			mesh.Contacts(contacts)
		},
	}
}

func rpcConfig(c config.Config, expected func() (int, bool)) rpc.Config {
	a := c.API
	return rpc.Config{
		Version: version(), Zone: c.Zone, Tags: tags(c.Tags), Expected: expected,
		MessageMax: int(a.MessageMax), CallsMax: a.CallsMax, AppCallsMax: a.AppCallsMax, CastsPerSecond: a.CastsPerSecond,
		AppsMax: a.ApplicationsMax, HandlersMax: a.HandlersMax,
		QueueBytes: int(a.QueueBytes), EventBytes: int(a.EventBytes), AnswerBytes: int(a.AnswerBytes),
	}
}

func socketConfig(a config.API) (local.Socket, error) {
	s := local.Socket{Path: a.Socket, AllowedUIDs: ids(a.AllowedUIDs), AllowedGIDs: ids(a.AllowedGIDs)}
	mode, err := strconv.ParseUint(a.Mode, 8, 32)
	if err != nil {
		return s, fmt.Errorf("api.mode: %w", err)
	}
	s.Mode = fs.FileMode(mode)
	if a.Group == "" {
		return s, nil
	}
	gid, err := strconv.Atoi(a.Group)
	if err != nil {
		g, lookErr := user.LookupGroup(a.Group)
		if lookErr != nil {
			return s, fmt.Errorf("api.group: %w", lookErr)
		}
		if gid, err = strconv.Atoi(g.Gid); err != nil {
			return s, fmt.Errorf("api.group: %s has the ID %s: %w", a.Group, g.Gid, err)
		}
	}
	s.GID = &gid
	return s, nil
}

func ids(list []int) []uint32 {
	out := make([]uint32, 0, len(list))
	for _, id := range list {
		out = append(out, uint32(id))
	}
	return out
}

func adminPath(c config.Config) string {
	if c.Admin.Socket != "" {
		return c.Admin.Socket
	}
	return filepath.Join(filepath.Dir(c.API.Socket), "admin.sock")
}
