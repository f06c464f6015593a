"""How each engine's server is started: its parts, its command line, and when it is ready."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from neo4j import GraphDatabase
from neo4j.exceptions import AuthError, DriverError, Neo4jError

from kg_schema.connection import GraphSettings
from kg_schema.engines import ArcadeHttp, Engine, Refused
from kg_schema.errors import InputError
from kg_schema.ports import LOOPBACK

NEO4J_VERSION = "5.26.30"
NEO4J_FIRST_PASSWORD = "neo4j"  # noqa: S105  what a fresh server has before ours is set
CONNECT_TIMEOUT_S = 5.0
# The embedded engine does not heed a transaction's own timeout: a read whose caller gave up would
# work on for ever.
COMMAND_TIMEOUT_MS = 120_000
POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>deskgraph</groupId><artifactId>graph-server</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies><dependency>
    <groupId>org.neo4j</groupId><artifactId>neo4j</artifactId><version>{NEO4J_VERSION}</version>
  </dependency></dependencies>
</project>
"""


@dataclass(frozen=True)
class Memory:
    """Most memory that a server may take.

    Args:
        heap_mb: Java's heap.
        page_cache_mb: What Neo4j keeps of its files; the embedded engine has none of its own.
    """

    heap_mb: int = 1024
    page_cache_mb: int = 512


class Recipe(ABC):
    """One engine's way to a running server.

    Attributes:
        engine: Which engine it is.
        username: The user its password is for.
        ports: How many neighbouring ports it listens on; the first is Bolt's.
        log: The log it writes itself, under its home; empty where it writes to its output.
    """

    engine: Engine
    username: str
    ports: int
    log: str = ""

    @abstractmethod
    def prepare(
        self, home: Path, port: int, password_file: Path, memory: Memory, host: str = LOOPBACK
    ) -> list[str]:
        """Writes what the server reads at its start and returns its command line.

        Raises:
            InputError: A part of the engine is missing on this machine.
        """

    @abstractmethod
    def ready(self, settings: GraphSettings) -> bool:
        """Whether the server takes the password and has the database.

        Raises:
            Refused: It answers and refuses.
        """


class EmbeddedRecipe(Recipe):
    """ArcadeDB from its Python wheel, which brings its own Java."""

    engine = Engine.EMBEDDED
    username = "root"
    ports = 2

    def prepare(
        self, home: Path, port: int, password_file: Path, memory: Memory, host: str = LOOPBACK
    ) -> list[str]:
        """Its settings all travel as system properties; the password by its file's path."""
        found = importlib.util.find_spec("arcadedb_embedded")
        if found is None or found.origin is None:
            raise InputError(
                "the embedded graph server is not installed",
                where="arcadedb-embedded",
                fix="pip install 'deskgraph[offline]', or set NEO4J_URI to a running Neo4j",
            )
        package = Path(found.origin).parent
        # The server writes ./log and dies loudly, if harmlessly, where there is none.
        (home / "log").mkdir(exist_ok=True)
        properties = {
            "java.awt.headless": "true",
            "polyglot.engine.WarnInterpreterOnly": "false",
            "arcadedb.server.mode": "production",
            "arcadedb.command.timeout": str(COMMAND_TIMEOUT_MS),
            "arcadedb.opencypher.loadCsv.allowFileUrls": "false",
            "arcadedb.opencypher.loadCsv.allowRemoteUrls": "false",
            "arcadedb.server.rootPath": str(home),
            "arcadedb.server.databaseDirectory": str(home / "databases"),
            "arcadedb.server.rootPasswordPath": str(password_file),
            "arcadedb.server.plugins": "Bolt:com.arcadedb.bolt.BoltProtocolPlugin",
            "arcadedb.bolt.host": host,
            "arcadedb.bolt.port": str(port),
            "arcadedb.server.httpIncomingHost": host,
            "arcadedb.server.httpIncomingPort": str(port + 1),
        }
        return [
            str(package / "jre" / "bin" / "java"),
            f"-Xmx{memory.heap_mb}m",
            "--enable-native-access=ALL-UNNAMED",
            "--add-modules=jdk.incubator.vector",
            "--add-opens=java.base/java.util.concurrent.atomic=ALL-UNNAMED",
            "--add-opens=java.base/java.nio.channels.spi=ALL-UNNAMED",
            *(f"-D{key}={value}" for key, value in properties.items()),
            "-cp",
            str(package / "jars" / "*"),
            "com.arcadedb.server.ArcadeDBServer",
        ]

    def ready(self, settings: GraphSettings) -> bool:
        """Makes the database over HTTP on the first start; Bolt cannot."""
        server = ArcadeHttp(settings)
        try:
            names = server.command("list databases")
            if settings.database not in cast("list[str]", names.get("result", [])):
                server.command(f"create database {settings.database}")
        except OSError:
            return False
        return _bolt_answers(settings)


class Neo4jRecipe(Recipe):
    """Neo4j Community from its published Maven artifacts."""

    engine = Engine.NEO4J
    username = "neo4j"
    ports = 1
    log = "logs/neo4j.log"

    def prepare(
        self, home: Path, port: int, password_file: Path, memory: Memory, host: str = LOOPBACK
    ) -> list[str]:
        """Fetches the jars once a machine; writes neo4j.conf."""
        libraries = neo4j_libraries()
        conf = home / "conf"
        conf.mkdir(exist_ok=True)
        settings = {
            "server.default_listen_address": host,
            "server.bolt.listen_address": f"{host}:{port}",
            "server.http.enabled": "false",
            "server.https.enabled": "false",
            "dbms.usage_report.enabled": "false",
            "initial.dbms.default_database": "deskgraph",
            "server.memory.pagecache.size": f"{memory.page_cache_mb}m",
        }
        lines = "".join(f"{key}={value}\n" for key, value in settings.items())
        (conf / "neo4j.conf").write_text(lines, encoding="utf-8")
        opens = ("java.nio", "java.io", "sun.nio.ch")
        return [
            "java",
            f"-Xmx{memory.heap_mb}m",
            # Loads a fifth faster than the collector Java takes by itself, and reads as fast.
            "-XX:+UseParallelGC",
            *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in opens),
            "-cp",
            str(libraries / "*"),
            "org.neo4j.server.CommunityEntryPoint",
            f"--home-dir={home}",
            f"--config-dir={conf}",
        ]

    def ready(self, settings: GraphSettings) -> bool:
        """Sets our password on the first start: until then only that statement works."""
        try:
            return _bolt_answers(settings)
        except Refused:
            _set_first_password(settings)
            return _bolt_answers(settings)


def recipe_for(engine: Engine) -> Recipe:
    """The recipe of an engine."""
    return EmbeddedRecipe() if engine is Engine.EMBEDDED else Neo4jRecipe()


def neo4j_missing() -> str:
    """What Neo4j Community lacks on this machine, in one line; empty where nothing is."""
    lacking = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
    return f"{' and '.join(lacking)} not found on PATH" if lacking else ""


def neo4j_libraries() -> Path:
    """The folder of the server's jars, fetched with Maven into the user's cache once.

    Raises:
        InputError: Java or Maven is missing, or Maven cannot fetch them.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deskgraph"
    libraries = cache / f"neo4j-{NEO4J_VERSION}"
    if lacking := neo4j_missing():
        raise InputError(
            lacking, where="neo4j engine", fix="install them, or use --engine embedded"
        )
    if libraries.is_dir():
        return libraries
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as work:
        Path(work, "pom.xml").write_text(POM, encoding="utf-8")
        goal = ["dependency:copy-dependencies", "-DoutputDirectory=lib", "-DincludeScope=runtime"]
        fetched = subprocess.run(
            ["mvn", "-q", "-B", *goal], cwd=work, capture_output=True, text=True, check=False
        )
        if fetched.returncode:
            reason = (fetched.stdout.strip() or fetched.stderr.strip()).splitlines()
            raise InputError(
                f"Maven cannot fetch Neo4j {NEO4J_VERSION}: {reason[0] if reason else 'no reason'}",
                where="mvn",
            )
        try:
            Path(work, "lib").rename(libraries)
        except OSError:
            # Another process fetched them meanwhile; theirs are the same.
            if not libraries.is_dir():
                raise
    return libraries


def _bolt_answers(settings: GraphSettings) -> bool:
    try:
        with (
            GraphDatabase.driver(
                settings.uri,
                auth=(settings.username, settings.password),
                connection_timeout=CONNECT_TIMEOUT_S,
            ) as driver,
            driver.session(database=settings.database) as session,
        ):
            session.run("RETURN 1").consume()
    except AuthError as error:
        raise Refused("it refuses the password in the data folder") from error
    except (DriverError, Neo4jError, OSError):
        return False
    return True


def _set_first_password(settings: GraphSettings) -> None:
    statement = "ALTER CURRENT USER SET PASSWORD FROM $old TO $new"
    try:
        with (
            GraphDatabase.driver(
                settings.uri, auth=(settings.username, NEO4J_FIRST_PASSWORD)
            ) as driver,
            driver.session(database="system") as session,
        ):
            session.run(statement, old=NEO4J_FIRST_PASSWORD, new=settings.password).consume()
    except AuthError as error:
        raise Refused("it refuses the password in the data folder") from error
    except (DriverError, Neo4jError, OSError) as error:
        raise Refused(f"its first password cannot be changed ({type(error).__name__})") from error
