"""The REST app."""

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from guerdon_service.core.auth import Keyring
from guerdon_service.core.limits import Limits
from guerdon_service.core.scorer import Scorer, TransportObserver
from guerdon_service.rest.edge import Edge
from guerdon_service.rest.failure import http_exception_response
from guerdon_service.rest.routes import Routes


def create_app(service: Scorer, *, auth: Keyring, limits: Limits, observer: TransportObserver) -> FastAPI:
    """Build the app over a domain layer; it starts nothing and owns nothing."""
    app = FastAPI(title="Guerdon", redoc_url=None, redirect_slashes=False)
    routes = Routes(service, limits, observer)
    table = (
        ("POST", "/v1/score", routes.score),
        ("POST", "/v1/compare", routes.compare),
        ("POST", "/v1/rank", routes.rank),
        ("GET", "/v1/models", routes.list_models),
        ("POST", "/v1/models", routes.load_model),
        ("GET", "/v1/models/{name}", routes.get_model),
        ("DELETE", "/v1/models/{name}", routes.unload_model),
        ("GET", "/health/live", routes.live),
        ("GET", "/health/ready", routes.ready),
        ("GET", "/metrics", routes.metrics),
    )
    for method, path, endpoint in table:
        app.add_api_route(path, endpoint, methods=[method], response_model=None)
    app.add_exception_handler(HTTPException, http_exception_response)
    app.add_middleware(Edge, auth=auth, observer=observer)
    return app
