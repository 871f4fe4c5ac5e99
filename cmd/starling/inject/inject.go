// Package inject puts the sidecar into Kubernetes manifests: what the chart's templates put into a pod, into any pod, from text
// to text. What it adds is rendered from the chart and not written here. It talks to no cluster and starts nothing.
package inject

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	yaml "gopkg.in/yaml.v3"
)

// shipped is the chart's starling.pod for a release with default values, as charts/test writes it; nameToken stands for what the
// release calls its things.
//
//go:embed pod.yaml
var shipped string

const nameToken = "__NAME__"

// A Pod is what a pod needs to have a sidecar, in the chart's words: its template starling.pod.
type Pod struct {
	Metadata struct {
		Labels      yaml.Node `yaml:"labels"`
		Annotations yaml.Node `yaml:"annotations"`
	} `yaml:"metadata"`
	Spec struct {
		ServiceAccountName string    `yaml:"serviceAccountName"`
		InitContainers     yaml.Node `yaml:"initContainers"` // the native sidecar, or
		Containers         yaml.Node `yaml:"containers"`     // the ordinary one
		Volumes            yaml.Node `yaml:"volumes"`
	} `yaml:"spec"`
	Application struct { // of each container of the pod's own
		Env          yaml.Node `yaml:"env"`
		VolumeMounts yaml.Node `yaml:"volumeMounts"`
		Lifecycle    yaml.Node `yaml:"lifecycle"`
	} `yaml:"application"`
}

// Of is the Pod of a release with the chart's default values.
func Of(release string) (Pod, error) {
	return Parse([]byte(strings.ReplaceAll(shipped, nameToken, fullname(release))))
}

// fullname is the chart's starling.fullname.
func fullname(release string) string {
	if !strings.Contains(release, "starling") {
		release += "-starling"
	}
	return strings.TrimSuffix(release[:min(54, len(release))], "-")
}

// Parse reads a Pod, as a release's ConfigMap has it under pod.yaml.
func Parse(text []byte) (Pod, error) {
	var p Pod
	if err := yaml.Unmarshal(text, &p); err != nil {
		return p, fmt.Errorf("read the pod: %w", err)
	}
	if len(p.sidecars()) == 0 || p.Application.Env.Kind != yaml.SequenceNode {
		return p, errors.New("read the pod: it does not tell of a sidecar and an application; want pod.yaml of a release's ConfigMap")
	}
	return p, nil
}

// sidecars are the containers to add, in either form.
func (p *Pod) sidecars() []*yaml.Node {
	return slices.Concat(p.Spec.InitContainers.Content, p.Spec.Containers.Content)
}

// SetImage changes the sidecar's image and, unless empty, when it is pulled.
func (p *Pod) SetImage(image, pullPolicy string) {
	for _, c := range p.sidecars() {
		for key, v := range map[string]string{"image": image, "imagePullPolicy": pullPolicy} {
			if v != "" {
				set(c, key, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v})
			}
		}
	}
}

// A Change is one object that has a sidecar now, and what its author should know of it.
type Change struct {
	Object     string // Kind name
	Containers []string
	Notes      []string
}

// Inject copies manifests from in to out, with the sidecar in every pod and in every template of pods. only names the
// containers that get the socket; none means all. What is no pod is copied as it is; a pod that has a sidecar gets this one.
func (p *Pod) Inject(in io.Reader, out io.Writer, only []string) ([]Change, error) {
	text, err := io.ReadAll(in)
	if err != nil {
		return nil, fmt.Errorf("read the manifests: %w", err)
	}
	var changes []Change
	for i, doc := range documents(string(text)) {
		var root yaml.Node
		if err := yaml.Unmarshal([]byte(doc), &root); err != nil {
			return nil, fmt.Errorf("read document %d: %w", i+1, err)
		}
		before := len(changes)
		if len(root.Content) > 0 {
			if changes, err = p.object(root.Content[0], only, changes); err != nil {
				return nil, err
			}
		}
		if len(changes) > before {
			if doc, err = write(&root); err != nil {
				return nil, err
			}
		}
		if i > 0 {
			doc = "---\n" + doc
		}
		if _, err := io.WriteString(out, doc); err != nil {
			return nil, fmt.Errorf("write the manifests: %w", err)
		}
	}
	return changes, nil
}

// documents splits a stream where YAML does.
func documents(text string) []string {
	list := []string{""}
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "---"); ok && strings.TrimSpace(rest) == "" {
			list = append(list, "")
			continue
		}
		list[len(list)-1] += line
	}
	if len(list) > 1 && strings.TrimSpace(list[0]) == "" {
		return list[1:]
	}
	return list
}

func write(root *yaml.Node) (string, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(root), e.Close()); err != nil {
		return "", fmt.Errorf("write a manifest: %w", err)
	}
	return b.String(), nil
}

// templates says where in an object of a kind its pod is.
var templates = map[string][]string{
	"Pod":        {},
	"Deployment": {"spec", "template"}, "StatefulSet": {"spec", "template"}, "DaemonSet": {"spec", "template"},
	"ReplicaSet": {"spec", "template"}, "ReplicationController": {"spec", "template"}, "Job": {"spec", "template"},
	"CronJob": {"spec", "jobTemplate", "spec", "template"},
}

// object changes one object, or those of a List.
func (p *Pod) object(o *yaml.Node, only []string, changes []Change) ([]Change, error) {
	if o.Kind != yaml.MappingNode {
		return changes, nil
	}
	kind := text(o, "kind")
	if items := get(o, "items"); strings.HasSuffix(kind, "List") && items != nil {
		for _, item := range items.Content {
			var err error
			if changes, err = p.object(item, only, changes); err != nil {
				return nil, err
			}
		}
		return changes, nil
	}
	path, ok := templates[kind]
	if !ok {
		return changes, nil
	}
	change := Change{Object: kind + " " + text(get(o, "metadata"), "name")}
	pod := o
	for _, key := range path {
		if pod = get(pod, key); pod == nil {
			return nil, fmt.Errorf("%s: it has no %s", change.Object, strings.Join(path, "."))
		}
	}
	if err := p.pod(pod, only, &change); err != nil {
		return nil, fmt.Errorf("%s: %w", change.Object, err)
	}
	return append(changes, change), nil
}

// pod changes a pod or a template of one.
func (p *Pod) pod(pod *yaml.Node, only []string, change *Change) error {
	metadata, err := child(pod, "metadata", yaml.MappingNode)
	if err != nil {
		return err
	}
	spec, err := child(pod, "spec", yaml.MappingNode)
	if err != nil {
		return err
	}
	apps := get(spec, "containers")
	if apps == nil || len(apps.Content) == 0 {
		return errors.New("its pod has no containers")
	}
	for _, app := range apps.Content {
		name := text(app, "name")
		if p.isSidecar(name) || (len(only) > 0 && !slices.Contains(only, name)) {
			continue
		}
		if err := p.application(app, change); err != nil {
			return fmt.Errorf("container %s: %w", name, err)
		}
		change.Containers = append(change.Containers, name)
	}
	if len(change.Containers) == 0 {
		return fmt.Errorf("it has no container %s", strings.Join(only, ", "))
	}
	p.account(spec, change)
	return errors.Join(
		addKeys(metadata, "labels", &p.Metadata.Labels),
		addKeys(metadata, "annotations", &p.Metadata.Annotations),
		addItems(spec, "initContainers", "name", &p.Spec.InitContainers, true), // before others, which may need it
		addItems(spec, "containers", "name", &p.Spec.Containers, false),
		addItems(spec, "volumes", "name", &p.Spec.Volumes, false),
	)
}

func (p *Pod) isSidecar(name string) bool {
	return slices.ContainsFunc(p.sidecars(), func(c *yaml.Node) bool { return text(c, "name") == name })
}

// application gives a container of the pod's own the socket, and a moment before its end.
func (p *Pod) application(c *yaml.Node, change *Change) error {
	err := errors.Join(
		addItems(c, "env", "name", &p.Application.Env, false),
		addItems(c, "volumeMounts", "mountPath", &p.Application.VolumeMounts, false),
	)
	theirs := get(get(c, "lifecycle"), "preStop")
	if err != nil || theirs == nil {
		return errors.Join(err, addKeys(c, "lifecycle", &p.Application.Lifecycle))
	}
	if ours := get(&p.Application.Lifecycle, "preStop"); ours != nil && !same(theirs, ours) {
		change.Notes = append(change.Notes, fmt.Sprintf("container %s has a preStop of its own: let it take a second or two, so that "+
			"the others learn that it is asked no more before it ends", text(c, "name")))
	}
	return nil
}

// account gives the pod the ServiceAccount that may watch, unless it has one.
func (p *Pod) account(spec *yaml.Node, change *Change) {
	ours, theirs := p.Spec.ServiceAccountName, text(spec, "serviceAccountName")
	switch {
	case ours == "" || theirs == ours:
	case theirs == "":
		set(spec, "serviceAccountName", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: ours})
	default:
		change.Notes = append(change.Notes, fmt.Sprintf("it keeps its ServiceAccount %s: bind the Role %s to it, or install the chart with "+
			"--set serviceAccount.create=false --set serviceAccount.name=%s", theirs, ours, theirs))
	}
}
