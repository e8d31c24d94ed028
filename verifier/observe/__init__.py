"""What an operator sees Gatelight with: files for Prometheus and Grafana, and where they are."""

from pathlib import Path

_FOLDER = Path(__file__).parent

# A rule file of Prometheus.
ALERTS = _FOLDER / "alerts.yml"
# A dashboard of Grafana 10 or newer.
DASHBOARD = _FOLDER / "dashboard.json"
