import org.apache.cassandra.config.DatabaseDescriptor;
import org.apache.cassandra.tools.NodeTool;

/** Runs NodeTool after a client configuration is set: see add_nodetool_starter in install.sh. */
public class NodeToolStarter {
    public static void main(String[] arguments) throws Exception {
        DatabaseDescriptor.clientInitialization();
        NodeTool.main(arguments);
    }
}
