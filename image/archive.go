package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// The media types of the OCI image format, v1.1.
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar"
)

// user is the image's own: nobody in particular, so that Kubernetes sees that it is not root. Any other will do.
const user = 65532

// descriptor points to a blob (OCI image format, descriptor.md).
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    *platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

// imageConfig says how a container of the image runs (config.md).
type imageConfig struct {
	Created      string         `json:"created"`
	Architecture string         `json:"architecture"`
	OS           string         `json:"os"`
	Config       runConfig      `json:"config"`
	RootFS       rootFS         `json:"rootfs"`
	History      []historyEntry `json:"history"`
}

type runConfig struct {
	User       string            `json:"User"`
	Env        []string          `json:"Env"`
	Entrypoint []string          `json:"Entrypoint"`
	Cmd        []string          `json:"Cmd"`
	WorkingDir string            `json:"WorkingDir"`
	StopSignal string            `json:"StopSignal"`
	Labels     map[string]string `json:"Labels"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type historyEntry struct {
	Created   string `json:"created"`
	CreatedBy string `json:"created_by"`
}

// dockerEntry is a line of manifest.json, which Docker before 25 reads in place of index.json.
type dockerEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// An archive is an OCI image layout on its way into a tar file (image-layout.md).
type archive struct {
	files     []file // in the order in which they are written
	digest    string // of the image
	platforms []platformImage
}

type platformImage struct {
	arch, digest string
	size         int // bytes of the layer
}

type file struct {
	name string
	text []byte
}

// assemble makes an image of one program for each machine.
func assemble(name string, programs []program) (*archive, error) {
	repository, tag, ok := strings.Cut(name[strings.LastIndex(name, "/")+1:], ":")
	if !ok || repository == "" || tag == "" {
		return nil, fmt.Errorf("-name %s: want name:tag", name)
	}
	a := &archive{}
	var list []descriptor
	var docker []dockerEntry
	for _, p := range programs {
		layer, err := layerOf(p)
		if err != nil {
			return nil, err
		}
		l := a.blob(typeLayer, layer)
		c := a.blob(typeConfig, encode(configOf(p.arch, l.Digest)))
		m := a.blob(typeManifest, encode(manifest{SchemaVersion: 2, MediaType: typeManifest, Config: c, Layers: []descriptor{l}}))
		m.Platform = &platform{Architecture: p.arch, OS: "linux"}
		list = append(list, m)
		docker = append(docker, dockerEntry{Config: blobName(c.Digest), RepoTags: []string{name}, Layers: []string{blobName(l.Digest)}})
		a.platforms = append(a.platforms, platformImage{arch: p.arch, digest: m.Digest, size: l.Size})
	}
	top := list[0]
	if len(list) > 1 {
		top = a.blob(typeIndex, encode(index{SchemaVersion: 2, MediaType: typeIndex, Manifests: list}))
	} else { // it can name one image alone
		a.files = append(a.files, file{"manifest.json", encode(docker)})
	}
	a.digest = top.Digest
	top.Annotations = map[string]string{"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag}
	a.files = append(a.files,
		file{"index.json", encode(index{SchemaVersion: 2, MediaType: typeIndex, Manifests: []descriptor{top}})},
		file{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)})
	return a, nil
}

// blob adds content under its digest.
func (a *archive) blob(mediaType string, text []byte) descriptor {
	d := descriptor{MediaType: mediaType, Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(text)), Size: len(text)}
	a.files = append(a.files, file{blobName(d.Digest), text})
	return d
}

func blobName(digest string) string { return "blobs/" + strings.ReplaceAll(digest, ":", "/") }

func configOf(arch, layer string) imageConfig {
	created := time.Unix(0, 0).UTC().Format(time.RFC3339)
	return imageConfig{
		Created: created, Architecture: arch, OS: "linux",
		Config: runConfig{
			User: fmt.Sprintf("%d:%d", user, user), Env: []string{"PATH=/"}, WorkingDir: "/", StopSignal: "SIGTERM",
			Entrypoint: []string{"/starling"}, Cmd: []string{"agent"},
			Labels: map[string]string{
				"org.opencontainers.image.title":    "starling",
				"org.opencontainers.image.source":   "https://github.com/starlingmesh/starling",
				"org.opencontainers.image.licenses": "Apache-2.0",
			},
		},
		RootFS:  rootFS{Type: "layers", DiffIDs: []string{layer}},
		History: []historyEntry{{Created: created, CreatedBy: "starling image"}},
	}
}

// layerOf is the file system: the program, and the folders that it needs where nobody mounts any.
func layerOf(p program) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, d := range []tar.Header{
		{Name: "etc/", Mode: 0o755}, {Name: "etc/starling/", Mode: 0o755},
		{Name: "run/", Mode: 0o755}, {Name: "run/starling/", Mode: 0o1777}, {Name: "tmp/", Mode: 0o1777},
	} {
		d.Typeflag, d.ModTime, d.Format = tar.TypeDir, time.Unix(0, 0), tar.FormatUSTAR
		if err := w.WriteHeader(&d); err != nil {
			return nil, fmt.Errorf("write %s: %w", d.Name, err)
		}
	}
	if err := add(w, file{"starling", p.text}, 0o755); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("end the layer: %w", err)
	}
	return b.Bytes(), nil
}

// write makes the tar file, all or nothing.
func (a *archive) write(path string) error {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range a.files {
		if err := add(w, f, 0o644); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("end the archive: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // an image is no secret
		return fmt.Errorf("make the folder of the archive: %w", err)
	}
	part := path + ".part"
	if err := os.WriteFile(part, b.Bytes(), 0o644); err != nil { //nolint:gosec // an image is no secret
		return fmt.Errorf("write the archive: %w", err)
	}
	return os.Rename(part, path)
}

func add(w *tar.Writer, f file, mode int64) error {
	h := &tar.Header{Name: f.name, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(f.text)), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
	if err := w.WriteHeader(h); err != nil {
		return fmt.Errorf("write %s: %w", f.name, err)
	}
	if _, err := w.Write(f.text); err != nil {
		return fmt.Errorf("write %s: %w", f.name, err)
	}
	return nil
}

func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types
	}
	return text
}
