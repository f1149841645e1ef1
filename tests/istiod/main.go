// Command istiod-translate says what istiod hands an ingress gateway for manifests: the judge of host-sim/istio.
//
// It reads the name of a file of manifests per line from standard input and writes a line of JSON for each to standard output: listeners, routes,
// clusters and endpoints, every one a list of Envoy's messages in protobuf's JSON; or "refused" with the admission webhook's words; or "error" with
// what went wrong. istiod itself is linked in: what its tests call a fake discovery server is the real one over resources in memory.
//
// Not here: secrets (their names are in the listeners), plugins fetched over ECDS, more than one cluster or network.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/pilot/pkg/config/kube/crd"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/log"
	"istio.io/istio/pkg/test"
)

// manifests are the objects of one file, by who reads them.
type manifests struct {
	// configs are Istio's own kinds.
	configs []config.Config
	// core are Kubernetes' kinds, as YAML.
	core []string
	mesh *meshconfig.MeshConfig
}

// refusal is what the admission webhook would say.
type refusal struct{ error }

var labels = map[string]string{"istio": "ingressgateway", "app": "istio-ingressgateway"}

const namespace = "istio-system"

// read sorts the objects of a file; secrets are left out.
func read(path string) (*manifests, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	found := &manifests{mesh: mesh.DefaultMeshConfig()}
	for _, document := range strings.Split(string(text), "\n---") {
		document = strings.TrimPrefix(strings.TrimSpace(document), "---")
		if strings.TrimSpace(document) == "" {
			continue
		}
		var object struct {
			APIVersion string            `json:"apiVersion"`
			Kind       string            `json:"kind"`
			Metadata   map[string]any    `json:"metadata"`
			Data       map[string]string `json:"data"`
		}
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			return nil, err
		}
		switch {
		case object.Kind == "ConfigMap" && object.Metadata["name"] == "istio":
			found.mesh, err = mesh.ApplyMeshConfigDefaults(object.Data["mesh"])
			if err != nil {
				return nil, refusal{err}
			}
		case strings.Contains(object.APIVersion, "istio.io/"):
			configs, err := valid(document)
			if err != nil {
				return nil, err
			}
			found.configs = append(found.configs, configs...)
		case object.Kind == "Secret":
		default:
			found.core = append(found.core, document)
		}
	}
	return found, nil
}

// valid parses one of Istio's kinds and asks the webhook's validation.
func valid(document string) ([]config.Config, error) {
	configs, _, err := crd.ParseInputs(document)
	if err != nil {
		return nil, refusal{err}
	}
	for i := range configs {
		configs[i].Domain = "cluster.local"
		schema, known := collections.Pilot.FindByGroupVersionKind(configs[i].GroupVersionKind)
		if !known {
			return nil, fmt.Errorf("no schema for %v", configs[i].GroupVersionKind)
		}
		if _, err := schema.ValidateConfig(configs[i]); err != nil {
			return nil, refusal{err}
		}
	}
	return configs, nil
}

func asJSON[M proto.Message](t test.Failer, messages []M) []json.RawMessage {
	made := make([]json.RawMessage, 0, len(messages))
	for _, message := range messages {
		bytes, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, bytes)
	}
	return made
}

// translate starts an istiod that has nothing but the manifests of a file, and asks it as the gateway.
func translate(path string) (answer map[string]any, err error) {
	found, err := read(path)
	if err != nil {
		return nil, err
	}
	failed := test.Wrap(func(t test.Failer) {
		server := xds.NewFakeDiscoveryServer(t, xds.FakeOptions{
			Configs:                found.configs,
			KubernetesObjectString: strings.Join(found.core, "\n---\n"),
			MeshConfig:             found.mesh,
		})
		proxy := server.SetupProxy(&model.Proxy{
			Type:            model.Router,
			ID:              "istio-ingressgateway." + namespace,
			ConfigNamespace: namespace,
			DNSDomain:       namespace + ".svc.cluster.local",
			IPAddresses:     []string{"10.9.9.9"},
			Labels:          labels,
			Metadata: &model.NodeMetadata{
				IstioVersion: "1.32.0",
				Namespace:    namespace,
				Labels:       labels,
				ProxyConfig:  (*model.NodeMetaProxyConfig)(found.mesh.GetDefaultConfig()),
			},
		})
		answer = map[string]any{}
		listeners := server.Listeners(proxy)
		answer["listeners"] = asJSON(t, listeners)
		answer["routes"] = asJSON(t, server.RoutesFromListeners(proxy, listeners))
		answer["clusters"] = asJSON(t, server.Clusters(proxy))
		answer["endpoints"] = asJSON(t, server.Endpoints(proxy))
	})
	return answer, failed
}

func main() {
	for _, scope := range log.Scopes() {
		scope.SetOutputLevel(log.NoneLevel)
	}
	lines := bufio.NewScanner(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for lines.Scan() {
		answer, err := translate(lines.Text())
		var refused refusal
		switch {
		case errors.As(err, &refused):
			answer = map[string]any{"refused": err.Error()}
		case err != nil:
			answer = map[string]any{"error": err.Error()}
		}
		if err := out.Encode(answer); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
