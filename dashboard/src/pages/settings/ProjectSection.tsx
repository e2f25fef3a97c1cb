import { useQuery } from "@tanstack/react-query";
import { useProjectId } from "../../api/queries";
import { Loaded } from "../../components/Loaded";
import { ProjectActions } from "./ProjectActions";
import { ProjectForm } from "./ProjectForm";
import { projectQuery } from "./queries";
import "./settings.css";

export function ProjectSection() {
  const id = useProjectId() ?? "";
  const query = useQuery(projectQuery(id));
  return (
    <Loaded query={query}>
      {(project) => (
        <div className="sections">
          {/* Remounts after a change elsewhere, so that no field shows an outdated value. */}
          <ProjectForm key={JSON.stringify([project.name, project.settings])} project={project} />
          <ProjectActions project={project} />
        </div>
      )}
    </Loaded>
  );
}
