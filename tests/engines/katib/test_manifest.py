"""Rendered manifests: the examples, and what each key of `cluster` becomes."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from hpo_pipeline.engines.katib.faults import registry_fault
from hpo_pipeline.engines.katib.manifest import as_yaml, manifests, verifier
from hpo_pipeline.errors import ExperimentError
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.jobs.baseline import resolved
from hpo_pipeline.trial.command import parse
from hpo_pipeline.trial.reporting.stop_request import CUT_OFF_EXIT
from tests.toys import TASK, toy_experiment

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted(path.name for path in (ROOT / "experiments").glob("*.yaml"))


def rendered(**sections):
    return manifests(toy_experiment(**sections))[1]


def pod(**cluster):
    job = rendered(cluster=cluster)["spec"]["trialTemplate"]["trialSpec"]
    return job["spec"]["template"]["spec"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_are_what_hpo_render_prints(name):
    """`make manifests` writes them."""
    expected = (ROOT / "manifests" / "experiments" / name).read_text("utf-8")
    experiment, _ = resolved(load(ROOT / "experiments" / name))
    assert as_yaml(manifests(experiment)) == expected


def test_rendering_twice_gives_the_same():
    assert as_yaml(manifests(toy_experiment())) == as_yaml(manifests(toy_experiment()))


def test_texts_that_look_like_numbers_are_quoted():
    """kubectl reads 1e-05 as a number, which Katib refuses."""
    text = as_yaml(manifests(toy_experiment())[1:])
    assert "min: '1e-05'" in text


def test_the_file_in_the_config_map_is_the_experiment():
    experiment = toy_experiment(constraints=["model_size_mb <= 70"], budget={"trials": 3})
    config = manifests(experiment)[0]
    text = config["data"]["experiment.yaml"]
    assert type(experiment).model_validate(yaml.safe_load(text)) == experiment
    assert config["immutable"]


def test_the_name_of_the_config_map_changes_with_the_experiment():
    names = {manifests(toy_experiment(budget={"trials": n}))[0]["metadata"]["name"] for n in (3, 4)}
    assert len(names) == 2


def test_the_trial_command_can_be_read_back():
    container = pod()["containers"][0]
    command = parse(container["args"])
    assert str(command.output) == "/storage/runs/toy/trials"
    assert command.assignments == {"learning_rate": "${trialParameters.learning_rate}"}
    assert command.stopping == "toy-hpo-random.hpo:6788"


def test_the_pod_is_restricted():
    spec = pod()
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    context = spec["containers"][0]["securityContext"]
    assert context["readOnlyRootFilesystem"]
    assert not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert not spec["automountServiceAccountToken"]


def test_each_key_of_cluster_arrives():
    spec = pod(
        image="reg/trial:1",
        gpus=1,
        gpu_resource="amd.com/gpu",
        cpu=3,
        memory="5Gi",
        node_selector={"disk": "fast"},
        tolerations=[{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        priority_class="low",
        service_account="someone",
        pull_secrets=["pull"],
        env={"A": "b"},
        env_from=["secret"],
        shared_memory="2Gi",
        storage={"uri": "s3://bucket/hpo", "secret": "s3"},
    )
    container = spec["containers"][0]
    limits = {"cpu": "3", "memory": "5Gi", "amd.com/gpu": "1"}
    assert container["resources"] == {"requests": limits, "limits": limits}
    assert container["image"] == "reg/trial:1"
    assert {"name": "A", "value": "b"} in container["env"]
    assert [e["secretRef"]["name"] for e in container["envFrom"]] == ["secret", "s3"]
    assert parse(container["args"]).storage == "s3://bucket/hpo"
    assert spec["nodeSelector"] == {"disk": "fast"}
    assert spec["tolerations"] == [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert spec["priorityClassName"] == "low"
    assert spec["serviceAccountName"] == "someone"
    assert spec["imagePullSecrets"] == [{"name": "pull"}]


def test_a_pod_that_is_disrupted_is_made_anew_and_one_that_fails_is_not():
    job = rendered()["spec"]["trialTemplate"]["trialSpec"]["spec"]
    ignored, fatal = job["podFailurePolicy"]["rules"]
    condition = {"type": "DisruptionTarget", "status": "True"}
    assert ignored == {"action": "Ignore", "onPodConditions": [condition]}
    codes = fatal["onExitCodes"]
    assert (fatal["action"], codes["operator"]) == ("FailJob", "NotIn")
    assert CUT_OFF_EXIT in codes["values"]
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # or the policy is refused


def test_a_token_is_in_a_secret_and_its_hash_on_the_experiment():
    experiment = toy_experiment()
    _, custom, secret = manifests(experiment, token="s3cret")
    assert secret["stringData"] == {"token": "s3cret"}
    assert custom["metadata"]["annotations"]["hpo-pipeline/token-sha256"] == verifier("s3cret")
    assert "s3cret" not in str(custom)
    job = custom["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]
    (variable,) = (e for e in job["containers"][0]["env"] if e["name"] == "HPO_TOKEN")
    source = variable["valueFrom"]["secretKeyRef"]
    assert source == {"name": secret["metadata"]["name"], "key": "token"}
    assert "HPO_TOKEN" not in str(manifests(experiment))


def test_parameters_whose_names_differ_by_a_dot_keep_their_own_values():
    values = {"type": "choice", "values": [1, 2]}
    experiment = toy_experiment(space={"model.size": values, "model_size": values})
    listed = manifests(experiment)[1]["spec"]["trialTemplate"]["trialParameters"]
    assert len({p["name"] for p in listed}) == len(listed) == 3


@pytest.mark.parametrize("text", ["y", "N", "on", "1e-05", "true"])
def test_texts_that_other_readers_take_for_booleans_or_numbers_are_quoted(text):
    assert as_yaml([{"value": text}]) == f"value: '{text}'\n"


def test_several_gpus_are_refused():
    with pytest.raises(ValidationError, match="cannot use several GPUs yet"):
        toy_experiment(cluster={"gpus": 2})


def test_a_storage_address_has_nothing_that_a_shell_reads():
    with pytest.raises(ValidationError, match="pattern"):
        toy_experiment(cluster={"storage": {"uri": "s3://bucket/$(id)"}})


def test_a_queue_is_a_label_of_the_job():
    job = rendered(cluster={"queue": "team"})["spec"]["trialTemplate"]["trialSpec"]
    assert job["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "team"}


def test_every_reference_of_the_template_is_a_parameter():
    """Katib's webhook refuses the experiment otherwise."""
    for search in ({"algorithm": "random"}, {"algorithm": "pbt", "settings": {"population": 2}}):
        spec = rendered(search=search)["spec"]
        template = spec["trialTemplate"]
        names = {p["name"] for p in spec["parameters"]}
        references = {p["reference"] for p in template["trialParameters"]}
        assert references == names | {"${trialSpec.Name}"}
        for parameter in template["trialParameters"]:
            assert f"${{trialParameters.{parameter['name']}}}" in str(template["trialSpec"])


def test_names_stay_short_enough():
    name = "x" * 40
    experiment = toy_experiment(name=name, search={"algorithm": "genetic"})
    config, custom = manifests(experiment)
    algorithm = custom["spec"]["algorithm"]["algorithmName"]
    assert len(f"{name}-{algorithm}") <= 63
    assert len(config["metadata"]["name"]) <= 63


def test_stock_katib_gets_an_experiment_without_anything_of_ours():
    spec = rendered(
        search={"algorithm": "katib:random", "settings": {"random_state": 7}},
        stopping={"algorithm": "katib:medianstop", "settings": {"start_step": 2}},
        budget={"trials": 6, "target": 0.9},
    )["spec"]
    assert spec["algorithm"]["algorithmName"] == "random"
    assert spec["algorithm"]["algorithmSettings"] == [{"name": "random_state", "value": "7"}]
    assert spec["earlyStopping"]["algorithmName"] == "medianstop"
    assert spec["metricsCollectorSpec"]["collector"]["kind"] == "StdOut"
    assert spec["objective"]["goal"] == 0.9
    template = spec["trialTemplate"]
    assert template["retain"]
    pod = template["trialSpec"]["spec"]["template"]
    assert pod["metadata"]["labels"]["hpo-pipeline/collector"] == "katib"  # for network policies
    command = parse(pod["spec"]["containers"][0]["args"])
    assert (command.stopping, command.database) == (None, None)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"task": {**TASK, "data": "/home/me/rows.csv"}}, "is a path of this machine"),
        ({"stopping": {"algorithm": "katib:medianstop"}}, "needs search.algorithm: katib:NAME"),
        (
            {
                "search": {"algorithm": "katib:random"},
                "stopping": {"algorithm": "median"},
            },
            "takes katib:NAME, none or auto",
        ),
    ],
)
def test_what_cannot_run_on_a_cluster_is_refused(sections, said):
    with pytest.raises(ExperimentError, match=said):
        rendered(**sections)


@pytest.mark.parametrize(
    ("cluster", "registry", "is_lost"),
    [
        ({"storage": {"uri": "s3://hpo/team"}}, "/storage/models", True),
        ({"storage": {"uri": "s3://hpo/team"}}, "mlflow+https://registry", False),
        ({}, "/storage/models", False),
        (
            {
                "storage": {"uri": "s3://hpo/team"},
                "volumes": [{"name": "shared", "persistentVolumeClaim": {"claimName": "models"}}],
                "volume_mounts": [{"name": "shared", "mountPath": "/shared"}],
            },
            "/shared/models",
            False,
        ),
    ],
)
def test_a_registry_that_goes_with_its_pod_is_refused(cluster, registry, is_lost):
    experiment = toy_experiment(cluster=cluster, register={"model": "toy"})
    assert bool(registry_fault(experiment, registry)) == is_lost
