package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var two = []program{{arch: "amd64", text: []byte("for amd64")}, {arch: "arm64", text: []byte("for arm64")}}

// written is an archive's files by name.
func written(t *testing.T, programs []program) (files map[string][]byte, raw []byte) {
	t.Helper()
	a, err := assemble("registry.example:5000/starling:test", programs)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sub", "image.tar")
	if err := a.write(path); err != nil {
		t.Fatal(err)
	}
	if raw, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return untar(t, raw), raw
}

func untar(t *testing.T, raw []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.ModTime.Unix() != 0 || h.Uid != 0 || h.Uname != "" {
			t.Errorf("%s tells of who wrote it, or when: %+v", h.Name, h)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

// follow reads the blob that a descriptor points to, and checks it by its digest.
func follow(t *testing.T, files map[string][]byte, d descriptor, into any) []byte {
	t.Helper()
	text, ok := files[blobName(d.Digest)]
	if !ok || len(text) != d.Size || fmt.Sprintf("sha256:%x", sha256.Sum256(text)) != d.Digest {
		t.Fatalf("%+v: %d bytes, %v", d, len(text), ok)
	}
	if into != nil {
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	return text
}

func TestAnArchiveLeadsFromItsIndexToEachProgram(t *testing.T) {
	files, _ := written(t, two)
	var top, list index
	if err := json.Unmarshal(files["index.json"], &top); err != nil {
		t.Fatal(err)
	}
	named := top.Manifests[0].Annotations
	if named["io.containerd.image.name"] != "registry.example:5000/starling:test" || named["org.opencontainers.image.ref.name"] != "test" {
		t.Errorf("it is called %v", named)
	}
	follow(t, files, top.Manifests[0], &list)
	if len(list.Manifests) != 2 || files["oci-layout"] == nil || files["manifest.json"] != nil {
		t.Fatalf("got %v", list)
	}
	for i, m := range list.Manifests {
		var man manifest
		var config imageConfig
		follow(t, files, m, &man)
		follow(t, files, man.Config, &config)
		layer := follow(t, files, man.Layers[0], nil)
		if m.Platform.Architecture != two[i].arch || config.Architecture != two[i].arch || config.RootFS.DiffIDs[0] != man.Layers[0].Digest {
			t.Errorf("got %+v, %+v", m, config)
		}
		if config.Config.User != "65532:65532" || config.Config.Entrypoint[0] != "/starling" {
			t.Errorf("it runs %+v", config.Config)
		}
		if got := untar(t, layer)["starling"]; !bytes.Equal(got, two[i].text) {
			t.Errorf("%s has %q", two[i].arch, got)
		}
	}
}

func TestAnArchiveForOneMachineIsForOldDockersToo(t *testing.T) {
	files, _ := written(t, two[:1])
	var docker []dockerEntry
	if err := json.Unmarshal(files["manifest.json"], &docker); err != nil {
		t.Fatal(err)
	}
	if e := docker[0]; e.RepoTags[0] != "registry.example:5000/starling:test" || files[e.Config] == nil || files[e.Layers[0]] == nil {
		t.Errorf("got %+v", e)
	}
}

func TestTheSameProgramsAreTheSameBytes(t *testing.T) {
	_, first := written(t, two)
	if _, second := written(t, two); !bytes.Equal(first, second) {
		t.Error("they differ")
	}
}

// TestTheSameSourceIsTheSameProgram wherever it lies: a path in the program would show.
func TestTheSameSourceIsTheSameProgram(t *testing.T) {
	var programs []program
	for range 2 {
		dir := t.TempDir()
		t.Chdir(dir)
		for name, text := range map[string]string{
			"go.mod":  "module example.com/hello\n\ngo 1.26\n",
			"main.go": "package main\n\nimport (\"fmt\"; \"runtime\")\n\nfunc main() { _, file, _, _ := runtime.Caller(0); fmt.Println(file) }\n",
		} {
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p, err := build(t.Context(), ".", "arm64", filepath.Join(dir, "program"))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(p.text, []byte(dir)) {
			t.Errorf("%s is in it", dir)
		}
		programs = append(programs, p)
	}
	if !bytes.Equal(programs[0].text, programs[1].text) {
		t.Error("they differ")
	}
}

func TestANameWithoutATagIsRefused(t *testing.T) {
	for _, name := range []string{"starling", "localhost:5000/starling", "starling:", ":tag", ""} {
		if _, err := assemble(name, two); err == nil || !strings.Contains(err.Error(), "want name:tag") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestAProgramThatDoesNotBuildLeavesNoImage(t *testing.T) {
	out := filepath.Join(t.TempDir(), "image.tar")
	if err := run(t.Context(), []string{"-source", "./nothing", "-o", out}, io.Discard); err == nil {
		t.Error("it built")
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("and wrote an image")
	}
}
